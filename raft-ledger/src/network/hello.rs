//! The first exchange of a connection: who is there, as which node, with which store. Before it nothing else is
//! served.

use std::fmt;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use super::acknowledged::{Acknowledged, Opened};
use super::signers::Signers;
use crate::LedgerError;
use crate::raft::{GROUP, LogId, Member, StoreId, StoredMembership};
use crate::roster::{Known, Roster};
use crate::rules::Rules;
use crate::standing::Standing;
use crate::store::{LogStore, Reached, SiteDb};

/// A later release that only adds something (a field of a message, a kind of request) leaves it: fields that are not
/// known are passed over, requests are refused in words (`frame::Kind::Unknown`). One that changes what is there raises
/// it, and no site of the former speaks with it.
pub(super) const PROTOCOL: u32 = 1;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(super) protocol: u32,
    pub(super) group: u32,
    pub(crate) site: String,
    pub(crate) store_id: StoreId,
    /// Releases before 0.3 do not say it.
    #[serde(default)]
    pub(crate) node: Option<u64>,
    /// Raft index of the membership that it knows, if it is a member by that.
    #[serde(default)]
    pub(crate) member_by: Option<u64>,
    /// The latest rules of apply that its release knows.
    #[serde(default)]
    pub(crate) apply_version: u32,
    /// Earlier releases do not say it.
    #[serde(default)]
    pub(super) opened: Option<Opened>,
    /// What it sends as leader, it signs (`authors/sending.rs`), and what it says to have taken to propose, it has put into
    /// its log (`forward.rs`). Earlier builds do neither, or signed other bytes.
    #[serde(default)]
    pub(super) signs_sent: bool,
    /// It holds other sites' keys for them. Earlier releases do not say so, and cannot.
    #[serde(default)]
    pub(super) keeps_keys: bool,
    /// Of a site that is none of the founders: its verifier keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) keys: Option<String>,
    /// The verifier key of the authority that admits sites by this one's public.json; empty: it names none. Earlier
    /// releases do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) authority: Option<String>,
}

impl Hello {
    /// Of a release that knows the requests of [`super::frame::Kind::is_later`], and checks what is forwarded to it.
    pub(super) fn knows_later_kinds(&self) -> bool {
        self.opened.is_some()
    }
}

/// Why a peer is not let in.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The peer must join anew; the text tells how.
    Rejoin(String),
    /// The peer needs a later release; the text says which.
    Upgrade(String),
    Other(String),
}

/// Why a peer is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// This site knows it as a member, or knows of no members yet.
    Known,
    /// It says that it is one by a later membership than this site has heard of; others must say so, too.
    ByItsWord,
}

/// What the refusal of one who must join anew begins with, on the wire.
const REJOIN: &str = "rejoin: ";
const UPGRADE: &str = "upgrade: ";

/// Who this site is and whom it knows by which store.
pub(crate) struct Identity {
    pub(crate) site: String,
    pub(crate) store_id: StoreId,
    pub(crate) site_db: Arc<SiteDb>,
    pub(crate) log: LogStore,
    pub(crate) roster: Arc<Roster>,
    pub(crate) standing: Arc<Standing>,
    pub(crate) acknowledged: Arc<Acknowledged>,
    pub(crate) signers: Arc<Signers>,
    opened: Opened,
    pub(crate) rules: Arc<Rules>,
    /// This site asks for a ledger and has none that tells which nodes the others are by now. Their certificates name
    /// them, and what they give is checked.
    is_healing: bool,
    /// See [`Hello::keys`].
    pub(crate) joining: OnceLock<String>,
    /// See [`Hello::authority`].
    pub(crate) authority: OnceLock<String>,
}

impl Identity {
    /// Of a site whose ledger must be made again.
    pub(crate) fn healing(
        site: &str,
        site_db: &Arc<SiteDb>,
        log: &LogStore,
        node: (u64, bool),
        rules: &Arc<Rules>,
    ) -> Result<Arc<Identity>, LedgerError> {
        let mut made = Identity::make(site, site_db, log, node, &StoredMembership::default(), None, rules)?;
        made.is_healing = true;
        Ok(Arc::new(made))
    }

    /// `node`: what this site's raft log is a node as, and whether that is a founder's. `applied`: up to where its
    /// ledger goes, as far as that can be told.
    pub(crate) fn new(
        site: &str,
        site_db: &Arc<SiteDb>,
        log: &LogStore,
        node: (u64, bool),
        membership: &StoredMembership,
        applied: Option<&LogId>,
        rules: &Arc<Rules>,
    ) -> Result<Arc<Identity>, LedgerError> {
        Identity::make(site, site_db, log, node, membership, applied, rules).map(Arc::new)
    }

    fn make(
        site: &str,
        site_db: &Arc<SiteDb>,
        log: &LogStore,
        (node, is_founder): (u64, bool),
        membership: &StoredMembership,
        applied: Option<&LogId>,
        rules: &Arc<Rules>,
    ) -> Result<Identity, LedgerError> {
        let Reached { term, last } = log.reached(applied);
        let process = u64::from_be_bytes(crate::random::bytes());
        let roster = Arc::new(Roster::new(node, membership));
        let signers = Arc::new(Signers::open(site_db, &roster)?);
        Ok(Identity {
            site: site.to_owned(),
            store_id: log.store_id()?,
            site_db: site_db.clone(),
            log: log.clone(),
            roster,
            standing: Arc::new(Standing::new(log.clone(), is_founder)),
            acknowledged: Arc::new(Acknowledged::open(site_db)?),
            signers,
            opened: Opened { process, term, last },
            rules: rules.clone(),
            is_healing: false,
            joining: OnceLock::new(),
            authority: OnceLock::new(),
        })
    }

    pub(crate) fn hello(&self) -> Hello {
        let known = self.roster.get();
        let is_member = known.members.contains_key(&self.roster.node);
        Hello {
            protocol: PROTOCOL,
            group: GROUP,
            site: self.site.clone(),
            store_id: self.store_id,
            node: Some(self.roster.node),
            member_by: known.index.filter(|_| is_member),
            apply_version: self.rules.known(),
            opened: Some(self.opened),
            signs_sent: true,
            keeps_keys: true,
            keys: self.joining.get().cloned(),
            authority: self.authority.get().cloned(),
        }
    }

    /// Whether who called may ask anything: a member, with the store it was admitted with.
    pub(crate) fn admit(&self, hello: &Hello) -> Result<Admission, Refused> {
        speaks(hello).map_err(Refused::Other)?;
        self.has_same_authority(hello).map_err(Refused::Other)?;
        self.keeps_up(hello).map_err(Refused::Upgrade)?;
        let known = self.roster.get();
        if known.index.is_none() {
            // This site has yet to hear who the members are, from one of them.
            return self.has_known_store(hello, None).map(|()| Admission::Known).map_err(Refused::Other);
        }
        let is_called = |id: u64| hello.node.is_none_or(|node| node == id);
        match known.of_site(&hello.site).find(|(id, _)| is_called(*id)) {
            Some((id, member)) => {
                self.has_known_store(hello, Some(member)).map_err(Refused::Rejoin)?;
                self.signers.admit(&hello.site, id, hello.signs_sent).map_err(Refused::Upgrade)?;
                Ok(Admission::Known)
            }
            None if hello.member_by > known.index => Ok(Admission::ByItsWord),
            None => Err(self.refuse(hello)),
        }
    }

    /// With another authority it would refuse sites that this one takes, and have another ledger.
    fn has_same_authority(&self, hello: &Hello) -> Result<(), String> {
        match (self.authority.get(), &hello.authority) {
            (Some(own), Some(other)) if own != other => Err(format!(
                "site {} has another `authority_key` in its public.json than site {}; put the file of this consortium \
                 into both folders of keys",
                hello.site, self.site
            )),
            _ => Ok(()),
        }
    }

    /// In words for one that is no member.
    pub(super) fn refuse(&self, hello: &Hello) -> Refused {
        Refused::Rejoin(no_member(&self.roster.get(), &hello.site))
    }

    /// Whether an admitted caller may still ask.
    pub(super) fn still_admits(&self, hello: &Hello) -> bool {
        let known = self.roster.get();
        let is_member = |id: &u64| known.members.contains_key(id);
        if self.keeps_up(hello).is_err() {
            return false;
        }
        known.index.is_none() || hello.member_by > known.index || hello.node.as_ref().is_none_or(is_member)
    }

    /// Whether who answered is the member that was called. A wiped disk has lost the votes it gave and the entries it
    /// acknowledged; as the old voter it could let a committed entry be lost.
    pub(super) fn recognise(&self, hello: &Hello, id: u64, member: &Member) -> Result<(), String> {
        speaks(hello)?;
        self.keeps_up(hello)?;
        if hello.site != member.name {
            return Err(format!("expected site {}, found {:?}", member.name, hello.site));
        }
        if self.is_healing {
            return Ok(());
        }
        if let Some(node) = hello.node.filter(|node| *node != id) {
            return Err(format!("site {} answers as node {node}, not as the member {id}", member.name));
        }
        self.has_known_store(hello, Some(member))?;
        if hello.signs_sent { self.signers.note(id) } else { Ok(()) }
    }

    /// Whether its release can apply what the consortium applies: the ledger that it would make, and with it what it
    /// signs, would be another.
    fn keeps_up(&self, hello: &Hello) -> Result<(), String> {
        let (applied, known) = (self.rules.applied(), hello.apply_version);
        if known >= applied {
            return Ok(());
        }
        Err(format!(
            "the consortium applies entries by the rules of version {applied}, the release of site {} knows them up to \
             {known}: run the later release there",
            hello.site
        ))
    }

    /// This site was refused by a peer in these words.
    pub(super) fn was_refused(&self, by: &str, text: &str) {
        if let Some(text) = text.strip_prefix(REJOIN) {
            self.standing.must_rejoin(by, text);
        }
        if let Some(text) = text.strip_prefix(UPGRADE) {
            self.standing.must_upgrade(by, text);
        }
    }

    pub(super) fn was_admitted(&self, by: &str) {
        let known = self.roster.get();
        if known.members.contains_key(&self.roster.node) {
            self.standing.was_admitted(by);
        }
    }

    fn has_known_store(&self, hello: &Hello, member: Option<&Member>) -> Result<(), String> {
        let site = &hello.site;
        let known = match member.and_then(|member| member.store) {
            Some(store) => store,
            None => self.remembered(site, &hello.store_id).map_err(|e| e.to_string())?,
        };
        if known == hello.store_id {
            return self.holds_what_it_acknowledged(hello);
        }
        Err(format!(
            "site {site} comes with another raft log than before (store {}, known {}): a wiped or replaced disk must \
             not vote as the old member. Put its data back; or let it join as a new node, which it becomes by itself: \
             `medulla site add {site}` at any member, and `medulla site promote {site}` once it has caught up",
            hex::encode(hello.store_id),
            hex::encode(known)
        ))
    }

    fn holds_what_it_acknowledged(&self, hello: &Hello) -> Result<(), String> {
        let Some(opened) = &hello.opened else { return Ok(()) };
        let site = &hello.site;
        self.acknowledged.admit(&hello.store_id, opened).map_err(|lost| {
            format!(
                "the raft log of site {site} is older than it was ({lost}): an old image of its disk must not vote as \
                 the old member. Put its newest data back; or stop it, move its directory `raftdb` away and start it \
                 again, then let it join as the new node that it is: `medulla site add {site}` at any member, and \
                 `medulla site promote {site}` once it has caught up"
            )
        })
    }

    /// The raft log that a member was admitted with, or, a founder, first seen with.
    pub(crate) fn store_of(&self, member: &Member) -> Result<Option<StoreId>, LedgerError> {
        match member.store {
            Some(store) => Ok(Some(store)),
            None => self.known_store(&member.name),
        }
    }

    fn remembered(&self, site: &str, fresh: &StoreId) -> Result<StoreId, LedgerError> {
        match self.known_store(site)? {
            Some(known) => Ok(known),
            None => {
                self.site_db.put(store_key(site).as_bytes(), fresh, true)?;
                Ok(*fresh)
            }
        }
    }

    /// The store that a founder was first seen with.
    pub(crate) fn known_store(&self, site: &str) -> Result<Option<StoreId>, LedgerError> {
        let damaged = |_| LedgerError::Damaged("sitedb: a store id is not 16 bytes".into());
        let known = self.site_db.get(store_key(site).as_bytes())?;
        known.map(|bytes| bytes.try_into().map_err(damaged)).transpose()
    }
}

fn speaks(hello: &Hello) -> Result<(), String> {
    if hello.protocol == PROTOCOL && hello.group == GROUP {
        return Ok(());
    }
    Err(format!(
        "site {} speaks protocol {} for group {}; this site speaks {PROTOCOL} for {GROUP}",
        hello.site, hello.protocol, hello.group
    ))
}

fn no_member(known: &Known, site: &str) -> String {
    let steps = format!("`medulla site add {site}` at any member, then `medulla site promote {site}`");
    match known.of_site(site).next() {
        Some((id, _)) => format!(
            "site {site} is a member as node {id}, with another disk than this one; to let this one take its place: \
             {steps}"
        ),
        None => format!("site {site} is no member of this consortium; to let it join: {steps}"),
    }
}

fn store_key(site: &str) -> String {
    format!("peer-store/{site}")
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Rejoin(text) => write!(f, "{REJOIN}{text}"),
            Refused::Upgrade(text) => write!(f, "{UPGRADE}{text}"),
            Refused::Other(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::network::frame::{pack, unpack};
    use crate::raft::log_id;
    use crate::rules::NEXT;

    /// Site a, node 0, of the members a (0), b (1, admitted with the store of eights) and c (2), by entry 5.
    fn site_a(dir: &std::path::Path, has_members: bool) -> Arc<Identity> {
        let member = |name: &str, store| Member { store, ..Member::founder(name) };
        let members =
            BTreeMap::from([(0, member("a", None)), (1, member("b", Some([8; 16]))), (2, member("c", None))]);
        let membership = openraft::Membership::new(vec![BTreeSet::from([0, 1, 2])], members).unwrap();
        let known = StoredMembership::new(Some(log_id(1, 5)), membership);
        let known = if has_members { known } else { StoredMembership::default() };
        let log = LogStore::open(&dir.join("raftdb")).unwrap();
        let site_db = Arc::new(SiteDb::open(&dir.join("sitedb")).unwrap());
        Identity::new("a", &site_db, &log, (0, true), &known, None, &Rules::up_to(NEXT)).unwrap()
    }

    fn hello(site: &str, node: u64, store: u8, member_by: Option<u64>) -> Hello {
        let (protocol, group, site) = (PROTOCOL, GROUP, site.to_owned());
        let (store_id, opened, keeps_keys, keys) = ([store; 16], None, true, None);
        let (node, apply_version, authority) = (Some(node), 0, None);
        Hello {
            protocol,
            group,
            site,
            store_id,
            node,
            member_by,
            apply_version,
            opened,
            signs_sent: true,
            keeps_keys,
            keys,
            authority,
        }
    }

    #[test]
    fn an_old_image_of_a_disk_is_refused_as_caller_and_as_called() {
        let dir = tempfile::tempdir().unwrap();
        let a = site_a(dir.path(), true);
        a.acknowledged.note(&[8; 16], 2, log_id(2, 5), None).unwrap();
        let b = Member { store: Some([8; 16]), ..Member::founder("b") };
        let opened = |last| Some(Opened { process: 1, term: 2, last: Some(log_id(2, last)) });
        let old = Hello { opened: opened(4), ..hello("b", 1, 8, Some(5)) };
        let text = a.admit(&old).unwrap_err().to_string();
        assert!(text.starts_with(REJOIN) && text.contains("`medulla site add b`"), "{text}");
        assert!(a.recognise(&old, 1, &b).is_err());
        let whole = Hello { opened: opened(5), ..old };
        assert!(a.recognise(&whole, 1, &b).is_ok() && a.admit(&whole).is_ok());
    }

    #[test]
    fn members_are_let_in_with_the_store_that_they_were_admitted_with() {
        let dir = tempfile::tempdir().unwrap();
        let a = site_a(dir.path(), true);
        for (hello, refusal) in [
            (hello("b", 1, 8, Some(5)), None),
            // A wiped disk, as the old member and as itself.
            (hello("b", 1, 9, None), Some("another raft log")),
            (hello("b", 77, 9, None), Some("is a member as node 1")),
            // A founder is known by the store that it first came with.
            (hello("c", 2, 3, Some(5)), None),
            (hello("c", 2, 4, None), Some("another raft log")),
            // Whoever knows more may tell; whoever knows less is told.
            (hello("d", 4, 1, Some(9)), None),
            (hello("d", 4, 1, Some(4)), Some("no member")),
            (hello("d", 4, 1, None), Some("no member")),
        ] {
            let text = a.admit(&hello).err().map(|refused| refused.to_string());
            match refusal {
                None => assert_eq!(text, None, "{hello:?}"),
                Some(why) => {
                    let text = text.unwrap_or_else(|| panic!("let in: {hello:?}"));
                    assert!(text.starts_with(REJOIN) && text.contains(why), "{text}");
                    assert!(text.contains(&format!("`medulla site add {}`", hello.site)), "{text}");
                }
            }
        }
        assert_eq!(a.admit(&hello("b", 1, 8, Some(5))).unwrap(), Admission::Known);
        assert_eq!(a.admit(&hello("d", 4, 1, Some(9))).unwrap(), Admission::ByItsWord);
        assert!(a.still_admits(&hello("b", 1, 8, Some(5))));
        assert!(!a.still_admits(&hello("d", 4, 1, Some(4))), "removed meanwhile");
        let b = Member { store: Some([8; 16]), ..Member::founder("b") };
        assert!(a.recognise(&hello("b", 1, 8, None), 1, &b).is_ok());
        for wrong in [hello("b", 1, 9, None), hello("b", 77, 8, None), hello("c", 1, 8, None)] {
            assert!(a.recognise(&wrong, 1, &b).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn who_knows_of_no_members_hears_everybody_and_a_new_disk_becomes_a_new_node() {
        let dir = tempfile::tempdir().unwrap();
        let a = site_a(dir.path(), false);
        assert!(a.admit(&hello("b", 1, 8, None)).is_ok());
        assert!(a.admit(&hello("b", 1, 9, None)).is_err(), "two disks of one site");
        assert!(!*a.standing.watch_outdated().borrow());
        a.was_refused("b", "the first message is no hello");
        assert_eq!(a.standing.notice(), None);
        a.was_refused("b", &format!("{REJOIN}do this"));
        a.standing.was_admitted("c");
        assert_eq!(a.standing.notice().as_deref(), Some("do this"));
        assert!(*a.standing.watch_outdated().borrow());
        let old = a.store_id;
        drop(a);
        let log = LogStore::open(&dir.path().join("raftdb")).unwrap();
        assert_eq!(log.node_id().unwrap(), None);
        log.renew().unwrap();
        let node = log.node_id().unwrap().unwrap();
        assert!(node >= 1_000 && log.store_id().unwrap() != old);
        log.renew().unwrap();
        assert_eq!(log.node_id().unwrap(), Some(node), "once");
    }

    #[test]
    fn a_release_that_was_left_behind_is_refused_and_told_so() {
        let dir = tempfile::tempdir().unwrap();
        let a = site_a(dir.path(), true);
        let (old, new) =
            (hello("b", 1, 8, Some(5)), Hello { apply_version: NEXT, ..hello("b", 1, 8, Some(5)) });
        let b = Member { store: Some([8; 16]), ..Member::founder("b") };
        assert!(a.admit(&old).is_ok() && a.still_admits(&old) && a.recognise(&old, 1, &b).is_ok());
        a.rules.are(NEXT).unwrap();
        let refused = a.admit(&old).unwrap_err().to_string();
        assert!(refused.starts_with(UPGRADE) && refused.contains("site b knows them up to 0"), "{refused}");
        assert!(!a.still_admits(&old) && a.recognise(&old, 1, &b).is_err());
        assert!(a.admit(&new).is_ok() && a.still_admits(&new) && a.recognise(&new, 1, &b).is_ok());
        // At the one that is refused.
        a.was_refused("b", &refused);
        assert!(a.standing.notice().unwrap().contains("later release"));
        assert!(!*a.standing.watch_outdated().borrow(), "its disk is good");
        a.was_admitted("b");
        assert_eq!(a.standing.notice(), None);
    }

    /// What a later release may add to the hello of this protocol is passed over; another protocol is refused in words.
    #[test]
    fn a_later_hello_is_understood_or_refused_in_words() {
        #[derive(Serialize)]
        struct Later {
            #[serde(flatten)]
            known: Hello,
            of_tomorrow: Vec<u8>,
        }
        let later = Later { known: hello("b", 1, 8, Some(5)), of_tomorrow: vec![1, 2] };
        let read: Hello = unpack(&pack(&later).unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let a = site_a(dir.path(), true);
        assert!(a.admit(&read).is_ok());
        let refused = a.admit(&Hello { protocol: PROTOCOL + 1, ..read }).unwrap_err().to_string();
        assert!(refused.contains("speaks protocol 2 for group 1; this site speaks 1"), "{refused}");
    }

    #[test]
    fn a_member_that_signed_what_it_sends_goes_on_signing() {
        let dir = tempfile::tempdir().unwrap();
        let a = site_a(dir.path(), true);
        let of_b = |signs_sent| Hello { signs_sent, ..hello("b", 1, 8, Some(5)) };
        assert!(a.admit(&of_b(false)).is_ok(), "of an early build");
        assert!(a.admit(&of_b(true)).is_ok());
        let c = Hello { signs_sent: false, ..hello("c", 2, 9, Some(5)) };
        assert!(a.admit(&c).is_ok());
        assert!(a.admit(&of_b(false)).is_ok(), "as long as c is, too");
        // What it says when it is called counts as well.
        let (signs, member) = (Hello { signs_sent: true, ..c.clone() }, Member::founder("c"));
        a.recognise(&signs, 2, &member).unwrap();
        for unsigned in [&c, &of_b(false)] {
            let refused = a.admit(unsigned).unwrap_err();
            assert!(
                matches!(&refused, Refused::Upgrade(why) if why.contains("run the release there")),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn a_site_with_another_authority_is_refused_in_words() {
        let dir = tempfile::tempdir().unwrap();
        let a = site_a(dir.path(), true);
        a.authority.set("its line".into()).unwrap();
        let with = |authority: Option<&str>| {
            let authority = authority.map(str::to_owned);
            a.admit(&Hello { authority, ..hello("b", 1, 8, Some(5)) }).map_err(|refused| refused.to_string())
        };
        assert!(with(None).is_ok() && with(Some("its line")).is_ok());
        for other in ["", "another line"] {
            let refused = with(Some(other)).unwrap_err();
            assert!(refused.contains("site b has another `authority_key`"), "{refused}");
        }
    }
}
