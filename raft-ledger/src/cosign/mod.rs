//! Checkpoints about once a second: each site signs its own and cosigns the others' (guarantee D3).
//!
//! The leader's tick sets the size. It asks the others to cosign its checkpoint of that size; whoever is asked
//! makes its own of the same size and asks in turn, so every site gathers for itself and needs to believe nobody.
//! A checkpoint counts once a majority of the sites has cosigned it. A site alone signs, and nobody cosigns.
//!
//! A site vouches only for roots that it computes from its own replica, never for a size smaller than one that it
//! vouched for before, never for a tree that does not continue that one. What it vouched for last is on its disk
//! before the signature leaves (C2SP tlog-cosignature, tlog-witness). Each request carries the newest checkpoint that
//! was gathered: a site that shows two others two histories has signed both, and is found. Where another site's root is
//! not one's own, all are asked what they sign at that size, and a majority's word convicts.

mod blame;
mod cosigner;
mod evidence;
mod newest;
mod rounds;
mod testimony;
mod voting;

pub(crate) use self::blame::Blame;
pub(crate) use self::cosigner::{Cosigner, answer};
pub(crate) use self::evidence::{Contradiction, Suspicion};
pub(crate) use self::newest::Newest;
pub(crate) use self::rounds::Rounds;
pub(crate) use self::testimony::{Accusation, Deed};

#[cfg(test)]
mod tests;
