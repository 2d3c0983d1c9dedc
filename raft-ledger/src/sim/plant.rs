//! Bugs that are planted one at a time, to see that the simulation finds them.

/// A bug that production does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "sim", derive(clap::ValueEnum))]
pub enum Plant {
    /// The raft log says that an append is on the disk before its sync.
    AckBeforeFsync,
    /// A snapshot is installed without its root being computed again.
    SkippedRootCheck,
    /// A vote is given before it is on the disk.
    DoubleVote,
    /// The dedupe window is one leaf too long.
    DedupeOffByOne,
    /// The first entry after a snapshot is applied a second time.
    AppliedTwice,
    /// A release goes on behind the entry from which others apply by rules that it does not know.
    OldReleaseGoesOn,
    /// What stands in a damaged block is read as if it were whole.
    DamagedBlocksServed,
}
