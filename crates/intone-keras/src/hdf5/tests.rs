//! Files that h5py wrote are read in `tests/goldens.rs`; here are those that it would not write.

use super::*;

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(
        [env!("CARGO_MANIFEST_DIR"), "tests", "goldens", name].iter().collect::<std::path::PathBuf>(),
    )
    .unwrap()
}

/// All that is in a file.
fn read_all(bytes: &[u8]) -> Result<usize> {
    let file = Hdf5::new(bytes)?;
    let root = file.root()?;
    let config = file.text(&root, "model_config")?.unwrap_or_default();
    let mut n = config.len();
    let mut open = vec![(root, 0)];
    while let Some((group, depth)) = open.pop() {
        for address in file.links(&group)?.into_values() {
            let object = file.object(address)?;
            if object.is_dataset() {
                // Those that are no floats are refused, which is not of interest here.
                n += file.dataset(&object).map_or(0, |dataset| dataset.values.len());
            } else if depth < MAX_DEPTH {
                open.push((object, depth + 1));
            }
        }
    }
    Ok(n)
}

/// What is said of the datasets among the weights that cannot be read.
fn errors_of_datasets(bytes: &[u8]) -> Vec<String> {
    let file = Hdf5::new(bytes).unwrap();
    let weights = file.find(&file.root().unwrap(), "model_weights").unwrap().expect("a group of weights");
    let mut errors = Vec::new();
    for address in file.links(&weights).unwrap().into_values() {
        for object in file.datasets_below(&file.object(address).unwrap()).unwrap().into_values() {
            errors.extend(file.dataset(&object).err().map(|error| error.to_string()));
        }
    }
    errors
}

fn position(bytes: &[u8], pattern: &[u8]) -> usize {
    bytes.windows(pattern.len()).position(|part| part == pattern).expect("the structure is there")
}

fn error(bytes: &[u8]) -> String {
    read_all(bytes).expect_err("an error").to_string()
}

#[test]
fn a_file_cut_anywhere_is_an_error_or_has_less_in_it() {
    let whole = golden("valid.h5");
    let n = read_all(&whole).unwrap();
    for end in (0..whole.len()).step_by(97) {
        match read_all(&whole[..end]) {
            Ok(found) => assert!(found <= n, "{end}"),
            Err(error) => assert!(matches!(error, Error::Hdf5 { .. }), "{end}: {error}"),
        }
    }
    assert!(error(&whole[..4]).contains("its signature is missing"));
    assert!(error(&whole[..64]).contains("expected here, but the file has 64"));
}

#[test]
fn a_file_may_begin_behind_a_user_block() {
    let whole = golden("valid.h5");
    let behind = [vec![0; 512], whole.clone()].concat();
    assert_eq!(read_all(&behind).unwrap(), read_all(&whole).unwrap());
}

#[test]
fn cycles_end_in_an_error() {
    let whole = golden("valid.h5");
    // The root's B-tree has itself as a child, and says that it is no leaf.
    let tree = position(&whole, b"TREE");
    let mut cycle = whole.clone();
    cycle[tree + 5] = 1;
    cycle[tree + 32..tree + 40].copy_from_slice(&(tree as u64).to_le_bytes());
    assert!(error(&cycle).contains("a cycle"), "{}", error(&cycle));

    // The first member of the root is the root: whatever lies in it is met again, or it gets too deep.
    let table = position(&whole, b"SNOD");
    let mut cycle = whole.clone();
    let root = u64::from_le_bytes(whole[64..72].try_into().unwrap());
    cycle[table + 16..table + 24].copy_from_slice(&root.to_le_bytes());
    let file = Hdf5::new(&cycle).unwrap();
    let error_below = file.datasets_below(&file.root().unwrap()).unwrap_err().to_string();
    assert!(
        error_below.contains("nested more than") || error_below.contains("two datasets are called"),
        "{error_below}"
    );

    // A header that goes on in itself.
    let mut cycle = whole.clone();
    let first_message = root as usize + 16;
    cycle[first_message..first_message + 2].copy_from_slice(&0x0010u16.to_le_bytes());
    cycle[first_message + 8..first_message + 16].copy_from_slice(&(first_message as u64).to_le_bytes());
    cycle[first_message + 16..first_message + 24].copy_from_slice(&24u64.to_le_bytes());
    assert!(error(&cycle).contains("more than 1048576 structures"), "{}", error(&cycle));
}

#[test]
fn sizes_that_promise_terabytes_are_refused_before_anything_is_allocated() {
    let whole = golden("valid.h5");
    assert_eq!(errors_of_datasets(&whole), Vec::<String>::new());
    // The shape of the kernel of the first convolution, [3, 3, 1, 3], in a version 1 dataspace: with maximal dimensions.
    let shape: Vec<u8> = [3u64, 3, 1, 3].iter().flat_map(|n| n.to_le_bytes()).collect();
    let at = position(&whole, &shape);
    for (first, expected) in [
        (1u64 << 40, "expected at most"),
        (u64::MAX, "expected at most"),
        (1 << 24, "bytes of numbers, or more"),
    ] {
        let mut large = whole.clone();
        large[at..at + 8].copy_from_slice(&first.to_le_bytes());
        let errors = errors_of_datasets(&large);
        assert!(errors.iter().any(|error| error.contains(expected)), "{first}: {errors:?}");
    }
    // Heaps and strings.
    let heap = position(&whole, b"GCOL");
    let mut large = whole.clone();
    large[heap + 8..heap + 16].copy_from_slice(&(1u64 << 42).to_le_bytes());
    assert!(error(&large).contains("bytes expected here"), "{}", error(&large));
}

#[test]
fn what_is_not_read_is_named() {
    let whole = golden("valid.h5");
    let mut other = whole.clone();
    other[8] = 9;
    assert!(error(&other).contains("superblock version 9"));
    let mut other = whole.clone();
    other[13] = 4;
    assert!(error(&other).contains("offsets of 4"));
    assert!(error(b"PK\x03\x04").contains("no HDF5 file"));
}

/// The goldens with bytes changed in a fixed order: an answer or an error, in bounded time.
#[test]
fn damaged_files_do_not_panic() {
    let mut state = 1u32;
    let mut next = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize
    };
    for name in ["valid.h5", "keras2.h5"] {
        let whole = golden(name);
        // Numbers make most of a file; structures are what can go wrong, and most of them lie in the first part.
        for round in 0..1_500 {
            let mut changed = whole.clone();
            for _ in 0..1 + round % 3 {
                let at = next() % if round % 2 == 0 { whole.len() } else { 8_192 };
                changed[at] = match next() % 4 {
                    0 => 0,
                    1 => 0xff,
                    _ => next() as u8,
                };
            }
            drop(read_all(&changed));
        }
    }
}
