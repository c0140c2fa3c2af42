//! Pickles that Python wrote are read in `tests/goldens.rs`; here are those that it would not write.

use super::*;

/// A pickle of protocol 2 with these instructions.
fn pickle(instructions: &[u8]) -> Vec<u8> {
    [b"\x80\x02", instructions, b"."].concat()
}

fn error(bytes: &[u8]) -> String {
    read(bytes).expect_err("an error").to_string()
}

#[test]
fn code_is_refused_by_name_and_never_run() {
    let marker = std::env::temp_dir().join(format!("intone-pickle-{}", std::process::id()));
    let command = format!("touch {}", marker.display());
    let text = |text: &str| [b"X".as_slice(), &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
    for (module, name) in [
        ("os", "system"),
        ("posix", "system"),
        ("builtins", "eval"),
        ("subprocess", "Popen"),
        ("numpy", "load"),
    ] {
        let global = format!("c{module}\n{name}\n");
        let by_line = pickle(&[global.as_bytes(), &text(&command), b"\x85R"].concat());
        let by_stack = pickle(&[&text(module)[..], &text(name), b"\x93", &text(&command), b"\x85R"].concat());
        for bytes in [by_line, by_stack] {
            assert!(error(&bytes).contains(&format!("it asks for `{module}.{name}`")), "{}", error(&bytes));
        }
    }
    // As the exploits have it, in protocol 0.
    let text = format!("cos\nsystem\n(S'{command}'\ntR.");
    assert!(error(text.as_bytes()).contains("`os.system`"));
    for instruction in [b"i".as_slice(), b"o", b"P0\n", b"Q", b"\x82\x01", b"\x97", b"\x98", b"I1\n", b"d"] {
        assert!(error(&pickle(&[b"(N", instruction].concat())).contains("instruction"), "{instruction:?}");
    }
    assert!(!marker.exists());
}

#[test]
fn names_of_data_stand_for_nothing_else() {
    for (instructions, expected) in [
        (b"cnumpy\nndarray\n".as_slice(), "where plain data is expected"),
        (b"cnumpy\nndarray\n)R", "other arguments"),
        (b"cnumpy\ndtype\nK\x01\x85R", "other arguments"),
        (b"c_codecs\nencode\nX\x01\0\0\0aX\x05\0\0\0rot13\x86R", "other arguments"),
        (b"csklearn.preprocessing._label\nLabelEncoder\n)\x81", "never filled"),
        (b"csklearn.preprocessing._label\nLabelEncoder\n)\x81]b", "has none"),
        (b"NNR", "arguments that are no tuple"),
        (b"N)R", "no name"),
        (b"NNb", "has none"),
    ] {
        let error = error(&pickle(instructions));
        assert!(error.contains(expected), "{instructions:?}: {error}");
    }
}

#[test]
fn broken_pickles_are_refused() {
    for (bytes, expected) in [
        (b"".to_vec(), "ends where 1 more"),
        (pickle(b""), "empty stack"),
        (pickle(b"(N"), ""),
        (pickle(b"t"), "a mark that is not there"),
        (pickle(b"Na"), "empty stack"),
        (pickle(b"NNa"), "no list"),
        (pickle(b"}(Nu"), "no pairs"),
        (pickle(b"h\x07"), "was not remembered"),
        (pickle(b"X\xff\xff\xff\xff"), "4294967295 more bytes"),
        (pickle(b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff"), "more bytes"),
        (pickle(b"X\x02\0\0\0\xff\xff"), "no UTF-8"),
        (pickle(b"\x8a\x09\0\0\0\0\0\0\0\0\x01"), "an int of 9 bytes"),
        (b"\x80\x01N.".to_vec(), "protocol 1"),
        (b"\x80\x06N.".to_vec(), "protocol 6"),
        (vec![0; MAX_BYTES as usize + 1], "expected at most"),
    ] {
        match read(&bytes) {
            Err(error) => assert!(error.to_string().contains(expected), "{bytes:?}: {error}"),
            Ok(value) => assert!(expected.is_empty(), "{bytes:?} became {value:?}"),
        }
    }
}

#[test]
fn small_pickles_do_not_become_large_values() {
    // A list in itself.
    assert!(error(&pickle(b"]q\x00h\x00a")).contains("hold themselves"));
    // Each list holds the one before ten times: a thousand million values in the end.
    let mut lists = b"N".to_vec();
    for index in 0..9u8 {
        lists.extend([b'q', index, b'0', b']', b'(']);
        lists.extend([b'h', index].repeat(10));
        lists.push(b'e');
    }
    assert!(error(&pickle(&lists)).contains("more than 65536 values"));
    // A long text many times.
    let mut texts = [b"X".as_slice(), &100_000u32.to_le_bytes(), &[b'a'; 100_000], b"q\x000]("].concat();
    texts.extend(b"h\x00".repeat(1_000));
    texts.push(b'e');
    assert!(error(&pickle(&texts)).contains("more than 65536 values"));
    // An array of as many sides as there is room for, with one value in it.
    let sides = [
        b"cnumpy.core.numeric\n_frombuffer\n(C\x01\x01cnumpy\ndtype\nX\x02\0\0\0i1\x85R(K\x01".as_slice(),
        &b"2".repeat(900_000),
        b"tX\x01\0\0\0CtR",
    ];
    assert!(error(&pickle(&sides.concat())).contains("an array of 900001 sides"));
    // One text of numpy's, made again and again.
    let text = [
        b"cnumpy.core.multiarray\nscalar\nq\x00(cnumpy\ndtype\nX\x07\0\0\0S500000\x85RB".as_slice(),
        &500_000u32.to_le_bytes(),
        &[b'a'; 500_000],
        b"tq\x01",
        &b"0h\x00h\x01R".repeat(10),
    ];
    assert!(error(&pickle(&text.concat())).contains("other arguments"));
    // An array of one value in each of its rows, which are in rows of their own, and so on.
    let rows = [
        b"cnumpy.core.numeric\n_frombuffer\n(B".as_slice(),
        &50_000u32.to_le_bytes(),
        &[1; 50_000],
        b"cnumpy\ndtype\nX\x02\0\0\0i1\x85R(M\x50\xc3",
        &b"K\x01".repeat(63),
        b"tX\x01\0\0\0CtR",
    ];
    assert!(error(&pickle(&rows.concat())).contains("more than 65536 values"));
    // An array that claims more than it has.
    let array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01J\xff\xff\xff\x7f\x85\
        cnumpy\ndtype\nX\x02\0\0\0O8\x89\x88\x87R\x89]Natb";
    assert!(error(&pickle(array)).contains("do not fill its shape"));
}

/// As many instructions as there is room for, each of which makes something and drops it again.
#[test]
fn what_a_pickle_makes_and_drops_is_counted() {
    let text = |n: usize| [b"X".as_slice(), &(n as u32).to_le_bytes(), &vec![b'a'; n]].concat();
    let again = |instructions: &[u8], before: &[u8]| {
        let n = (MAX_BYTES as usize - before.len() - 16) / instructions.len();
        pickle(&[before, &instructions.repeat(n), b"N"].concat())
    };
    let called = b"h\x00h\x01R0";
    let encode =
        [b"c_codecs\nencode\nq\x000(".as_slice(), &text(4_096), b"X\x06\0\0\0latin1tq\x010"].concat();
    let scalar = [
        b"cnumpy.core.multiarray\nscalar\nq\x000(cnumpy\ndtype\nX\x05\0\0\0S4096\x85RB".as_slice(),
        &4_096u32.to_le_bytes(),
        &[b'a'; 4_096],
        b"tq\x010",
    ]
    .concat();
    let shape = [
        b"cnumpy.core.numeric\n_frombuffer\nq\x000(C\x01\x01cnumpy\ndtype\nX\x02\0\0\0i1\x85R(".as_slice(),
        &b"K\x01".repeat(64),
        b"tX\x01\0\0\0Ctq\x010",
    ]
    .concat();
    for (name, bytes) in [
        ("bytes of a text", again(called, &encode)),
        ("a numpy text", again(called, &scalar)),
        ("the sides of an array", again(called, &shape)),
        ("empty lists", again(b"]0", b"")),
        ("empty lists that are kept", again(b"]", b"")),
        ("places in the memo", again(b"\x94", b"N")),
    ] {
        assert!(bytes.len() as u64 <= MAX_BYTES, "{name}: {} bytes", bytes.len());
        let error = error(&bytes);
        assert!(error.contains("its values take more than 16777216 bytes"), "{name}: {error}");
    }
    // As many values as may be spread out are no more than what may be made.
    let names: Vec<u8> = (0..60_000).flat_map(|_| text(10)).collect();
    let list = read(&pickle(&[b"](".as_slice(), &names, b"e"].concat())).unwrap();
    assert!(matches!(list, Value::List(names) if names.len() == 60_000));
}

#[test]
fn plain_values_are_read() {
    let value = read(&pickle(
        b"(NK\x07M\x00\x01J\xff\xff\xff\xff\x8a\x02\x00\x80\x8a\x00G\x40\x04\0\0\0\0\0\0\x88\x89t",
    ))
    .unwrap();
    let expected = vec![
        Value::None,
        Value::Int(7),
        Value::Int(256),
        Value::Int(-1),
        Value::Int(-32_768),
        Value::Int(0),
        Value::Float(2.5),
        Value::Bool(true),
        Value::Bool(false),
    ];
    assert_eq!(value, Value::List(expected));
}

/// Every pickle of the goldens, cut anywhere and with any byte changed: an answer or an error.
#[test]
fn damaged_pickles_do_not_panic() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens");
    let mut n_pickles = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "pkl") {
            continue;
        }
        n_pickles += 1;
        let whole = std::fs::read(&path).unwrap();
        let original = read(&whole).unwrap();
        for at in 0..whole.len() {
            assert!(read(&whole[..at]).is_err(), "{} cut at {at}", path.display());
            for change in [0x01, 0x10, 0x80, 0xff] {
                let mut changed = whole.clone();
                changed[at] ^= change;
                drop(read(&changed));
            }
        }
        assert_eq!(read(&whole).unwrap(), original);
    }
    assert!(n_pickles >= 16, "{n_pickles} pickles in {folder}");
}
