//! The sandbox with real guests: those of `workflows/`, and small ones written by hand.

mod attempts;
mod guests;
mod limits;
mod rejections;
mod replays;
mod stand_ins;
mod turns;
