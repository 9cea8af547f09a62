//! The encoding of records in nodes: JSON that an operator can read, with the number of its format, then a space and its
//! CRC-32 in hexadecimal. Checkpoints have the same shape and their own file, [`stitch_common::checkpoint`].

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// A kind of record that is kept in a node.
pub trait Payload: Serialize + DeserializeOwned {
    /// The number of its format; raised whenever an older program could misread it.
    const FORMAT: u32;
    /// What to do when one cannot be used.
    const HELP: &'static str;
}

#[derive(Serialize)]
struct Sealed<'a, T> {
    format: u32,
    body: &'a T,
}

#[derive(Deserialize)]
struct Opened<T> {
    body: T,
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

const CHECKSUM: usize = 9;

/// Encodes `payload`.
#[must_use]
pub fn seal<T: Payload>(payload: &T) -> Vec<u8> {
    let sealed = Sealed {
        format: T::FORMAT,
        body: payload,
    };
    let mut bytes = serde_json::to_vec(&sealed).expect("plain data serialises");
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(format!(" {checksum:08x}").as_bytes());
    bytes
}

/// Decodes the bytes that [`seal`] made, read from the node at `path`.
///
/// # Errors
/// [`Error::Corrupt`]: nothing may be counted on it.
pub fn open<T: Payload>(path: &str, bytes: &[u8]) -> Result<T, Error> {
    let corrupt = |why: String| Error::Corrupt {
        path: path.to_owned(),
        why,
        help: T::HELP,
    };
    let Some(split) = bytes.len().checked_sub(CHECKSUM) else {
        return Err(corrupt("it is too short".to_owned()));
    };
    let (json, checksum) = bytes.split_at(split);
    if checksum != format!(" {:08x}", crc32fast::hash(json)).as_bytes() {
        return Err(corrupt("its checksum does not match".to_owned()));
    }
    let malformed = |error: serde_json::Error| corrupt(format!("it is malformed ({error})"));
    let Format { format } = serde_json::from_slice(json).map_err(malformed)?;
    if format != T::FORMAT {
        return Err(corrupt(format!(
            "it has format {format}, and this version knows format {}",
            T::FORMAT
        )));
    }
    let Opened { body } = serde_json::from_slice(json).map_err(malformed)?;
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Note(String);

    impl Payload for Note {
        const FORMAT: u32 = 3;
        const HELP: &'static str = "write it again";
    }

    #[test]
    fn a_sealed_record_is_opened() {
        let note = Note("grüß".to_owned());
        assert_eq!(open::<Note>("/n", &seal(&note)), Ok(note));
    }

    #[test]
    fn a_record_of_another_format_is_refused_with_path_and_help() {
        let json = br#"{"format":4,"body":{"news":1}}"#;
        let mut bytes = json.to_vec();
        bytes.extend_from_slice(format!(" {:08x}", crc32fast::hash(json)).as_bytes());
        let text = open::<Note>("/n", &bytes).unwrap_err().to_string();
        for part in ["/n ", "format 4", "format 3", "write it again"] {
            assert!(text.contains(part), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_record_with_one_damaged_byte_is_refused(at in 0_usize..200, flip in 1_u8..) {
            let mut bytes = seal(&Note("some text".to_owned()));
            let at = at % bytes.len();
            bytes[at] ^= flip;
            prop_assert!(open::<Note>("/n", &bytes).is_err());
        }

        #[test]
        fn arbitrary_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            prop_assert!(open::<Note>("/n", &bytes).is_err());
        }
    }
}
