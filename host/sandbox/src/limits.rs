//! How far a guest may go.

use std::time::Duration;

/// How far a guest may go. The defaults suit ordinary workflows.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Most memory of one guest, in bytes, all its linear memories together.
    pub memory_bytes_max: usize,
    /// Most elements of all its tables together.
    pub table_elements_max: usize,
    /// Most guests at a time. Each reserves 4 GiB of addresses, of which a process has 128 TiB.
    pub guests_max: u32,
    /// Most stack of a guest, in bytes. The thread that runs it needs this and 512 KiB more.
    pub stack_bytes_max: usize,
    /// Largest payload that a guest may hand over, in bytes.
    pub payload_bytes_max: usize,
    /// Most bytes of payloads that one turn or one attempt may hand over and get from the state
    /// store together. Bounds what a record can hold.
    pub run_bytes_max: usize,
    /// Most commands of one turn, and most calls of one turn to the state store.
    pub commands_per_turn_max: usize,
    /// Most that one turn or one attempt may log, in bytes; then a line says that it was cut.
    pub log_bytes_max: usize,
    /// Longest that one turn may run.
    pub turn_time_max: Duration,
    /// Longest that one attempt may run, whatever its task allows.
    pub attempt_time_max: Duration,
    /// Most bytes of bodies that one attempt may send and receive over HTTP together.
    pub http_body_bytes_max: u64,
    /// Most HTTP connections that one attempt may have at a time.
    pub http_connections_max: usize,
    /// Largest module, in bytes.
    pub module_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: usize = 1024 * 1024;
        Self {
            memory_bytes_max: 256 * MIB,
            // Of pointers to functions; a large module has some thousands.
            table_elements_max: 100_000,
            guests_max: 2_000,
            stack_bytes_max: MIB / 2,
            payload_bytes_max: 16 * MIB,
            run_bytes_max: 128 * MIB,
            commands_per_turn_max: 10_000,
            log_bytes_max: MIB,
            turn_time_max: Duration::from_secs(10),
            attempt_time_max: Duration::from_secs(600),
            http_body_bytes_max: 64 * 1024 * 1024,
            http_connections_max: 100,
            module_bytes_max: 64 * MIB,
        }
    }
}
