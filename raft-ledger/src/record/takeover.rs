//! What a leaf of kind [`TAKEOVER`](crate::types) says: which sites are gone and who stands in for them, or that a site
//! is there and whom it wants in its place.

use bytes::Bytes;

use super::SiteName;
use super::reader::{Reader, RecordError};

const VERSION: u8 = 1;
const HERE: u8 = 1;
const GONE: u8 = 2;
/// Of one leaf: more sites than that are no minority.
pub const MAX_GONE_SITES: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Takeover {
    /// The site that signed it is there, and names who stands in for it; `None`: whom the leader finds next.
    Here { partner: Option<SiteName> },
    /// The leader has not heard of these sites: site and holder of its lease. A site that is not in it is not gone.
    Gone { sites: Vec<(SiteName, SiteName)> },
}

impl Takeover {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        match self {
            Takeover::Here { partner } => {
                out.extend_from_slice(&[HERE, u8::from(partner.is_some())]);
                partner.iter().for_each(|partner| partner.encode(&mut out));
            }
            Takeover::Gone { sites } => {
                // At most MAX_GONE_SITES: checked where one is made.
                out.extend_from_slice(&[GONE, sites.len() as u8]);
                for (site, holder) in sites {
                    site.encode(&mut out);
                    holder.encode(&mut out);
                }
            }
        }
        out
    }

    pub fn decode(bytes: Bytes) -> Result<Takeover, RecordError> {
        let mut reader = Reader::new("takeover", bytes);
        reader.version(VERSION)?;
        let form = reader.u8()?;
        let count = reader.u8()?;
        let read = match (form, count) {
            (HERE, 0) => Takeover::Here { partner: None },
            (HERE, 1) => Takeover::Here { partner: Some(SiteName::decode(&mut reader)?) },
            (GONE, count) if usize::from(count) <= MAX_GONE_SITES => {
                let mut sites: Vec<(SiteName, SiteName)> = Vec::new();
                for _ in 0..count {
                    let site = SiteName::decode(&mut reader)?;
                    // One encoding per value: in order, each once.
                    if sites.last().is_some_and(|(last, _)| *last >= site) {
                        return Err(reader.error("sites that are not in order"));
                    }
                    sites.push((site, SiteName::decode(&mut reader)?));
                }
                Takeover::Gone { sites }
            }
            _ => return Err(reader.error("neither here nor gone")),
        };
        reader.end()?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn site(name: &str) -> SiteName {
        SiteName::new(name).unwrap()
    }

    fn check(takeover: &Takeover, golden: &str) {
        let encoded = takeover.encode();
        assert_eq!(hex::encode(&encoded), golden);
        assert_eq!(Takeover::decode(encoded.clone().into()).as_ref(), Ok(takeover));
        for cut in 0..encoded.len() {
            assert!(Takeover::decode(encoded[..cut].to_vec().into()).is_err());
        }
        assert!(Takeover::decode([&encoded[..], &[0]].concat().into()).is_err());
    }

    #[test]
    fn the_layout_is_stable() {
        check(&Takeover::Here { partner: None }, "010100");
        check(&Takeover::Here { partner: Some(site("b")) }, "0101010162");
        check(&Takeover::Gone { sites: vec![] }, "010200");
        let sites = vec![(site("a"), site("b")), (site("d"), site("e.x"))];
        check(&Takeover::Gone { sites }, "01020201610162016403652e78");
    }

    #[test]
    fn one_encoding_per_value() {
        for sites in [vec!["b", "a"], vec!["a", "a"]] {
            let sites = sites.into_iter().map(|name| (site(name), site("c"))).collect();
            assert!(Takeover::decode(Takeover::Gone { sites }.encode().into()).is_err());
        }
        assert!(Takeover::decode(Bytes::from_static(&[1, 1, 2])).is_err());
        assert!(Takeover::decode(Bytes::from_static(&[2, 1, 0])).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Takeover::decode(bytes.into());
        }
    }
}
