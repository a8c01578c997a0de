//! How a command and what it says go between the process that was given it and the host that
//! carries it out: a line of JSON for each, and after it the bytes that are no text.

use serde::{Deserialize, Serialize};

use super::Exit;
use super::call::Call;
use super::terminal::Said;
use crate::host::Upload;

/// Where commands are sent.
pub(crate) const PATH: &str = "/api/v1/commands";

/// Names the version of whoever sends a command: both sides have to be of one.
pub(crate) const VERSION_HEADER: &str = "wfhost-version";

/// The version of this side.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The largest payload twice, as an argument and as it was typed, and what stands around them.
const HEAD_BYTES_MAX: usize = 36 * 1024 * 1024;

/// What goes first: the command, and of the modules what their bytes, which follow, are.
#[derive(Serialize, Deserialize)]
struct Head<C> {
    call: C,
    uploads: Vec<Module>,
}

#[derive(Serialize, Deserialize)]
struct Module {
    label: String,
    bytes: usize,
}

/// The line of something said.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Out(String),
    Err(String),
    /// So many bytes follow.
    Part(usize),
    Exit(u8),
}

impl Call {
    pub(super) fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let module = |it: &Upload| Module {
            label: it.label.clone(),
            bytes: it.bytes.len(),
        };
        let head = Head {
            call: self,
            uploads: self.uploads.iter().map(module).collect(),
        };
        let mut encoded = serde_json::to_vec(&head)?;
        encoded.push(b'\n');
        self.uploads
            .iter()
            .for_each(|it| encoded.extend_from_slice(&it.bytes));
        Ok(encoded)
    }

    /// # Errors
    /// In words, if it is no command of this version.
    pub(super) fn decode(encoded: &[u8]) -> Result<Self, String> {
        let end = encoded.iter().position(|byte| *byte == b'\n');
        if end.unwrap_or(encoded.len()) > HEAD_BYTES_MAX {
            return Err(format!(
                "it has more than {HEAD_BYTES_MAX} bytes beside its modules"
            ));
        }
        let (head, mut rest) = encoded.split_at(end.unwrap_or(encoded.len()));
        rest = rest.get(1..).unwrap_or_default();
        let head = serde_json::from_slice::<Head<Call>>(head);
        let Head { mut call, uploads } = head.map_err(|error| error.to_string())?;
        for Module { label, bytes } in uploads {
            let (module, left) = rest
                .split_at_checked(bytes)
                .ok_or("the bytes of a module are cut off")?;
            rest = left;
            call.uploads.push(Upload {
                label,
                bytes: module.to_vec(),
            });
        }
        Ok(call)
    }
}

impl Said {
    pub(super) fn encode(self) -> Vec<u8> {
        let (line, part) = match self {
            Self::Out(line) => (Line::Out(line), Vec::new()),
            Self::Err(line) => (Line::Err(line), Vec::new()),
            Self::Part(part) => (Line::Part(part.len()), part),
            Self::Exit(exit) => (Line::Exit(exit as u8), Vec::new()),
        };
        let mut encoded = serde_json::to_vec(&line).expect("text and numbers are JSON");
        encoded.push(b'\n');
        encoded.extend(part);
        encoded
    }
}

/// What has come in of what is said.
#[derive(Default)]
pub(super) struct Incoming {
    bytes: Vec<u8>,
}

impl Incoming {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next thing that has come in whole.
    ///
    /// # Errors
    /// If that is nothing that a host says.
    pub(super) fn next(&mut self) -> Result<Option<Said>, serde_json::Error> {
        let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') else {
            return Ok(None);
        };
        let part_at = end + 1;
        let (said, until) = match serde_json::from_slice(&self.bytes[..end])? {
            Line::Out(line) => (Said::Out(line), part_at),
            Line::Err(line) => (Said::Err(line), part_at),
            Line::Exit(exit) => (Said::Exit(Exit::of(exit)), part_at),
            Line::Part(bytes) => {
                let until = part_at.saturating_add(bytes);
                let Some(part) = self.bytes.get(part_at..until) else {
                    return Ok(None);
                };
                (Said::Part(part.to_vec()), until)
            }
        };
        self.bytes.drain(..until);
        Ok(Some(said))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::Cli;
    use super::*;

    /// A host that is sent one could be made to read, or to build, what is there.
    #[test]
    fn no_path_travels_with_a_command() {
        let path = "some/where";
        for line in [
            vec!["run", path, "--watch", path, "--id", "a"],
            vec!["start", path],
            vec!["deploy", path],
            vec!["replay", "a", path],
        ] {
            let cli = Cli::parse_from([&["wfhost"], line.as_slice()].concat());
            let call = Call {
                command: cli.command,
                args: Vec::new(),
                uploads: Vec::new(),
            };
            let encoded = String::from_utf8(call.encode().unwrap()).unwrap();
            assert!(!encoded.contains(path), "{encoded}");
            assert!(Call::decode(encoded.as_bytes()).is_ok(), "{encoded}");
        }
    }

    #[test]
    fn what_is_said_comes_in_whole_however_it_is_cut() {
        let all = [
            Said::Out("a line".into()),
            Said::Part(b"{\n\0".to_vec()),
            Said::Err(String::new()),
            Said::Exit(Exit::Stalled),
        ];
        let encoded: Vec<u8> = all.into_iter().flat_map(Said::encode).collect();
        let (mut incoming, mut said) = (Incoming::default(), Vec::new());
        for byte in encoded {
            incoming.add(&[byte]);
            while let Some(next) = incoming.next().unwrap() {
                said.push(match next {
                    Said::Out(line) => format!("out {line}"),
                    Said::Err(line) => format!("err {line}"),
                    Said::Part(part) => format!("part {part:?}"),
                    Said::Exit(exit) => format!("exit {}", exit as u8),
                });
            }
        }
        assert_eq!(said, ["out a line", "part [123, 10, 0]", "err ", "exit 3"]);
        incoming.add(b"nothing that a host says\n");
        assert!(incoming.next().is_err());
    }
}
