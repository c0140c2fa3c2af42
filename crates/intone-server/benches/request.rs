//! What the service adds to the library: one recording of three seconds, recognised by a call and by a request on the loopback
//! interface over a connection that is open, by turns. `cargo bench -p intone-server`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use intone::{AudioStream, Recognizer};
use intone_server::{App, Options, serve};
use tokio::net::TcpListener;

const N_ROUNDS: usize = 200;
const RATE: u32 = 16_000;

#[expect(clippy::print_stdout, reason = "the result of a benchmark")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let recognizer = Recognizer::embedded()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let mut connection = TcpStream::connect(listener.local_addr()?)?;
    connection.set_nodelay(true)?;
    runtime.spawn(serve(App::new(recognizer.clone(), Options::default()), listener, std::future::pending()));

    let wav = wav();
    let mut request =
        format!("POST /v1/recognize HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", wav.len())
            .into_bytes();
    request.extend(&wav);
    let (mut calls, mut requests) = (Vec::new(), Vec::new());
    for _ in 0..N_ROUNDS {
        let start = Instant::now();
        let scores = recognizer.recognize_stream(&mut AudioStream::from_bytes(wav.clone())?)?;
        calls.push(start.elapsed());
        assert!(!scores.silence);

        let start = Instant::now();
        connection.write_all(&request)?;
        let answer = answer(&mut connection)?;
        requests.push(start.elapsed());
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    }
    let (call, request) = (median(calls), median(requests));
    println!("library call  {:8.2} ms", call.as_secs_f64() * 1e3);
    println!("request       {:8.2} ms", request.as_secs_f64() * 1e3);
    println!("ratio         {:8.2}", request.as_secs_f64() / call.as_secs_f64());
    Ok(())
}

/// An answer, whose body ends with the brace of a JSON object.
fn answer(connection: &mut TcpStream) -> std::io::Result<String> {
    let (mut bytes, mut part) = (Vec::new(), [0; 4_096]);
    loop {
        let n = connection.read(&mut part)?;
        bytes.extend(&part[..n]);
        if n == 0 || bytes.ends_with(b"}") {
            return Ok(String::from_utf8_lossy(&bytes).into_owned());
        }
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Three seconds of a voice with harmonics in syllables.
fn wav() -> Vec<u8> {
    let n = 3 * RATE;
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((2 * n + 36).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend(RATE.to_le_bytes());
    bytes.extend((2 * RATE).to_le_bytes());
    bytes.extend(b"\x02\0\x10\0data");
    bytes.extend((2 * n).to_le_bytes());
    for i in 0..n {
        let t = i as f32 / RATE as f32;
        let voice: f32 =
            (1..12).map(|k| (std::f32::consts::TAU * 150.0 * k as f32 * t).sin() / k as f32).sum();
        let sample = 6_000.0 * (std::f32::consts::PI * 3.0 * t).sin().abs() * voice;
        bytes.extend((sample as i16).to_le_bytes());
    }
    bytes
}
