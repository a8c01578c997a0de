//! What a guest says: lines through `log.write`, and bytes on its standard output and error.

use std::sync::{Arc, Mutex, PoisonError};

use wfhost_core::record::{LogLevel, LogLine};

/// Longest message of one line, in bytes; the rest is cut.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// The lines of one turn or one attempt.
#[derive(Debug)]
pub(crate) struct GuestLog {
    lines: Vec<LogLine>,
    bytes: usize,
    bytes_max: usize,
    /// Replayed turns and queries have said it before, or say it to nobody.
    dropped: bool,
    /// Lines of the standard streams that have no end yet.
    begun: [Vec<u8>; 2],
}

/// A log to which requests under way write as well.
#[derive(Debug, Clone)]
pub(crate) struct SharedLog(Arc<Mutex<GuestLog>>);

impl SharedLog {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Mutex::new(GuestLog::new(bytes_max))))
    }

    pub(crate) fn with<T>(&self, write: impl FnOnce(&mut GuestLog) -> T) -> T {
        write(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A standard stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Output,
    Error,
}

impl GuestLog {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            lines: Vec::new(),
            bytes: 0,
            bytes_max,
            dropped: false,
            begun: [Vec::new(), Vec::new()],
        }
    }

    /// Begins a turn: with lines that count, or with lines to drop.
    pub(crate) fn begin(&mut self, dropped: bool) {
        self.dropped = dropped;
        self.bytes = 0;
    }

    /// Ends the turn or the attempt, and hands its lines out.
    pub(crate) fn end(&mut self) -> Vec<LogLine> {
        for stream in [Stream::Output, Stream::Error] {
            let rest = std::mem::take(&mut self.begun[stream as usize]);
            if !rest.is_empty() {
                self.line(stream, &rest);
            }
        }
        std::mem::take(&mut self.lines)
    }

    /// One line.
    pub(crate) fn write(&mut self, level: LogLevel, message: String) {
        if self.dropped || self.bytes > self.bytes_max {
            return;
        }
        let message = cut(message, MESSAGE_BYTES_MAX);
        self.bytes += message.len() + 1;
        if self.bytes <= self.bytes_max {
            self.lines.push(LogLine { level, message });
            return;
        }
        self.lines.push(LogLine {
            level: LogLevel::Warn,
            message: format!(
                "the log was cut here: it is longer than {} bytes",
                self.bytes_max
            ),
        });
    }

    /// Bytes of a standard stream; each line that they end is written.
    pub(crate) fn stream(&mut self, stream: Stream, bytes: &[u8]) {
        if self.dropped {
            return;
        }
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let begun = &mut self.begun[stream as usize];
            begun.extend_from_slice(part);
            if part.ends_with(b"\n") || begun.len() >= MESSAGE_BYTES_MAX {
                let line = std::mem::take(begun);
                self.line(stream, &line);
            }
        }
    }

    fn line(&mut self, stream: Stream, bytes: &[u8]) {
        let level = match stream {
            Stream::Output => LogLevel::Info,
            Stream::Error => LogLevel::Warn,
        };
        let text = String::from_utf8_lossy(bytes);
        self.write(level, text.trim_end_matches(['\n', '\r']).to_owned());
    }
}

/// A text of at most so many bytes.
pub(crate) fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(log: &mut GuestLog) -> Vec<String> {
        log.end().into_iter().map(|line| line.message).collect()
    }

    #[test]
    fn a_stream_becomes_lines_and_its_rest_the_last_one() {
        let mut log = GuestLog::new(100);
        log.stream(Stream::Output, b"one\r\ntw");
        log.stream(Stream::Error, b"oh");
        log.stream(Stream::Output, b"o\nthree");
        assert_eq!(messages(&mut log), ["one", "two", "three", "oh"]);
    }

    #[test]
    fn a_log_that_is_too_long_says_once_that_it_was_cut() {
        let mut log = GuestLog::new(8);
        for text in ["abc", "def", "ghi", "j"] {
            log.write(LogLevel::Info, text.into());
        }
        let cut = "the log was cut here: it is longer than 8 bytes";
        assert_eq!(messages(&mut log), ["abc", "def", cut]);
        log.begin(false);
        log.write(LogLevel::Info, "next turn".into());
        assert_eq!(messages(&mut log).len(), 1);
    }

    #[test]
    fn what_is_said_while_a_turn_is_taken_again_is_dropped() {
        let mut log = GuestLog::new(100);
        log.begin(true);
        log.write(LogLevel::Info, "again".into());
        log.stream(Stream::Output, b"again\nand ag");
        log.begin(false);
        log.stream(Stream::Output, b"new\n");
        assert_eq!(messages(&mut log), ["new"]);
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        assert_eq!(cut("añb".into(), 2), "a…");
        assert_eq!(cut("ab".into(), 2), "ab");
    }
}
