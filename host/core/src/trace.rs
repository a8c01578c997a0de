//! Where something stands in a trace, as W3C's Trace Context passes it from caller to called.

use serde::{Deserialize, Serialize};

/// A place in a trace: what happens next there is a child of `span`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// The trace, which many programs may share. Never 0.
    pub id: u128,
    /// The span that is the parent of what follows. Never 0.
    pub span: u64,
    /// Bit 0: whoever began the trace has it recorded.
    pub flags: u8,
    /// What the programs before want to be passed on, as `tracestate` has it; may be empty. At most
    /// [`Trace::STATE_BYTES_MAX`].
    pub state: String,
}

impl Trace {
    /// The longest `tracestate` that is passed on, in bytes; W3C asks for no more.
    pub const STATE_BYTES_MAX: usize = 512;

    /// The bit of `flags` that says that the trace is recorded.
    pub const SAMPLED: u8 = 1;

    /// Whether the trace is recorded.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.flags & Self::SAMPLED != 0
    }

    /// The value of the header `traceparent`.
    #[must_use]
    pub fn parent_header(&self) -> String {
        format!("00-{:032x}-{:016x}-{:02x}", self.id, self.span, self.flags)
    }

    /// The same trace, further down: what follows is a child of that span.
    #[must_use]
    pub fn below(&self, span: u64) -> Self {
        Self {
            span,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_written_as_w3c_has_it() {
        let trace = Trace {
            id: 0x4bf9,
            span: 0xf067,
            flags: 1,
            state: String::new(),
        };
        assert_eq!(
            trace.below(0xab).parent_header(),
            "00-00000000000000000000000000004bf9-00000000000000ab-01"
        );
    }
}
