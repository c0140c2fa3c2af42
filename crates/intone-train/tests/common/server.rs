//! A file server for tests: HTTP/1.1 with ranges, over the loopback, and faults on demand.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// Without the leading slash.
    pub(crate) path: String,
    /// The first byte of `Range: bytes=N-`.
    pub(crate) from: Option<usize>,
    /// How many requests for this path came before.
    pub(crate) nth: usize,
}

/// What is sent back; the connection closes after it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    pub(crate) status: &'static str,
    /// Whole header lines.
    pub(crate) headers: Vec<String>,
    pub(crate) body: Vec<u8>,
    /// Stop after so many bytes of the body, whatever the header promised.
    pub(crate) cut: Option<usize>,
}

impl Reply {
    /// The whole file, without support for ranges.
    pub(crate) fn whole(content: &[u8]) -> Reply {
        let headers = vec![format!("Content-Length: {}", content.len())];
        Reply { status: "200 OK", headers, body: content.to_vec(), cut: None }
    }

    /// The file, or the part of it that was asked for.
    pub(crate) fn file(content: &[u8], request: &Request) -> Reply {
        match request.from {
            None => Reply::whole(content),
            Some(from) if from >= content.len() => Reply::status("416 Range Not Satisfiable"),
            Some(from) => {
                let mut reply = Reply::whole(&content[from..]);
                reply.status = "206 Partial Content";
                let (last, total) = (content.len() - 1, content.len());
                reply.headers.push(format!("Content-Range: bytes {from}-{last}/{total}"));
                reply
            }
        }
    }

    /// No file.
    pub(crate) fn status(status: &'static str) -> Reply {
        Reply { status, headers: vec!["Content-Length: 0".to_owned()], ..Default::default() }
    }

    /// The same, but the connection breaks after so many bytes.
    pub(crate) fn cut(mut self, bytes: usize) -> Reply {
        self.cut = Some(bytes);
        self
    }

    /// The same with another header line.
    pub(crate) fn header(mut self, line: &str) -> Reply {
        self.headers.push(line.to_owned());
        self
    }
}

/// A server that runs until the test's process ends.
#[derive(Debug)]
pub(crate) struct Server {
    /// `http://127.0.0.1:PORT`.
    pub(crate) url: String,
    log: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub(crate) fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let log = Arc::new(Mutex::new(Vec::new()));
        let counts = Arc::new(Mutex::new(HashMap::new()));
        let answer = Arc::new(answer);
        let log_of_server = log.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answer, log, counts) = (answer.clone(), log_of_server.clone(), counts.clone());
                std::thread::spawn(move || {
                    let Some(mut request) = read_request(&stream) else { return };
                    {
                        let mut counts = counts.lock().unwrap();
                        let count = counts.entry(request.path.clone()).or_insert(0);
                        request.nth = *count;
                        *count += 1;
                    }
                    log.lock().unwrap().push(request.clone());
                    send(&stream, &answer(&request));
                });
            }
        });
        Server { url, log }
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.log.lock().unwrap().clone()
    }
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let first = lines.next()?;
    let path = first.split(' ').nth(1)?.trim_start_matches('/').to_owned();
    let mut from = None;
    for line in lines.take_while(|line| !line.is_empty()) {
        let lower = line.to_ascii_lowercase();
        if let Some(range) = lower.strip_prefix("range: bytes=") {
            from = range.trim_end_matches('-').parse().ok();
        }
    }
    Some(Request { path, from, nth: 0 })
}

fn send(mut stream: &TcpStream, reply: &Reply) {
    let mut head = format!("HTTP/1.1 {}\r\nConnection: close\r\n", reply.status);
    for line in &reply.headers {
        head.push_str(&format!("{line}\r\n"));
    }
    let body = &reply.body[..reply.cut.unwrap_or(reply.body.len()).min(reply.body.len())];
    // A client that hangs up early is none of the server's business.
    let _ = stream.write_all(format!("{head}\r\n").as_bytes()).and_then(|()| stream.write_all(body));
    let _ = stream.shutdown(std::net::Shutdown::Both);
}
