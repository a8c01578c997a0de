//! The memory of a module: a newer release of the allocator that the standard library has, which
//! begins with the heap that the module is born with instead of asking for more at once.
//!
//! An attempt of an activity lives for some microseconds. Growing its memory takes as long again,
//! since the host must change the protection of pages and tell every processor.

#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;
