//! Admission of a further site: its request (`site-keys.txt`), signed by the authority, as a line of text.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::authority::Authority;
use super::init::{KeyDir, sync};
use super::public::{SitePublic, VerifierKeys};
use crate::record::{MAX_NAME_BYTES, NewSite};
use crate::types::LedgerError;

/// Where `admit` writes, beside the request, unless it is told another place.
pub(super) const ADMISSION: &str = "site-admission.txt";
/// Before the base64 of the record, which specifies itself.
const LINE: &str = "medulla admission v1 ";

/// What was signed, for whoever signs to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    pub consortium: String,
    pub site: String,
    /// Its verifier keys, one a line.
    pub keys: String,
    /// Where the signed admission is.
    pub file: PathBuf,
}

/// Has the authority, whose private key is in the file `authority`, admit the site that asks for it in the file `request`.
/// The admission is written to `out`, or else beside the request.
///
/// # Errors
/// A request of another form or consortium; files that cannot be read; an admission that is there already.
pub fn admit(request: &Path, authority: &Path, out: Option<&Path>) -> Result<Admitted, LedgerError> {
    let io = |path: &Path, source| LedgerError::Io { path: path.display().to_string(), source };
    let bad = |path: &Path, what: String| LedgerError::Keys(format!("{} {what}", path.display()));
    let key =
        std::fs::read_to_string(authority).map(zeroize::Zeroizing::new).map_err(|e| io(authority, e))?;
    let Authority { consortium, key } = Authority::parse(&key).ok_or_else(|| {
        let what = "is no authority's key; give the authority-key.txt that `medulla keys init` made";
        bad(authority, what.into())
    })?;
    let text = std::fs::read_to_string(request).map_err(|e| io(request, e))?;
    let new = requested(&text).ok_or_else(|| {
        let what =
            "is no site's request; give the site-keys.txt that `medulla keys init --join` made, as it is";
        bad(request, what.into())
    })?;
    if new.consortium != consortium {
        let what = format!(
            "asks to be admitted to {}, and the key in {} is the authority's of {consortium}",
            new.consortium,
            authority.display()
        );
        return Err(bad(request, what));
    }
    let new = new.sign(&key);
    let file = out.map_or_else(|| request.with_file_name(ADMISSION), Path::to_path_buf);
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty());
    let dir = dir.map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let content = format!("# admits site {} to {consortium}\n{}", new.site, line(&new));
    KeyDir(dir.clone()).write(&name, content.as_bytes(), false)?;
    sync(&dir)?;
    Ok(Admitted { consortium, site: new.site.to_string(), keys: text, file })
}

/// What the authority shall sign, from verifier keys of one site, one a line. `None`: something else than that.
pub(crate) fn requested(text: &str) -> Option<NewSite> {
    let keys = VerifierKeys::parse(text).ok()?;
    let ([log], [cosigner]) = (&keys.logs[..], &keys.cosigners[..]) else {
        return None;
    };
    let (site, batch_key) = keys.batches.iter().next()?;
    let (consortium, group_id) = log.name().split_once("/group/")?;
    let new = NewSite {
        consortium: consortium.to_owned(),
        group_id: group_id.parse().ok()?,
        site: site.clone(),
        generation: NewSite::FIRST,
        batch_key: batch_key.to_bytes(),
        log_key: log.public_key(),
        cosigner_key: cosigner.public_key(),
        signature: [0; 64],
    };
    // Names and ids of the keys, too, must be those that everybody will make of them.
    let is_whole = consortium.len() <= MAX_NAME_BYTES && SitePublic::of(&new)?.verifier_keys() == text;
    is_whole.then_some(new)
}

/// With its newline.
pub(crate) fn line(new: &NewSite) -> String {
    format!("{LINE}{}\n", STANDARD.encode(new.encode()))
}

pub(super) fn is_line(line: &str) -> bool {
    line.starts_with(LINE)
}

/// `None`: another line than that.
pub(crate) fn parse_line(line: &str) -> Option<NewSite> {
    NewSite::decode(STANDARD.decode(line.strip_prefix(LINE)?).ok()?.into()).ok()
}

/// The one admission in a file; empty lines and lines that begin with '#' are skipped.
pub(crate) fn parse(text: &str) -> Option<NewSite> {
    let mut lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let new = parse_line(lines.next()?)?;
    lines.next().is_none().then_some(new)
}

/// The private key in a folder that `init` made.
#[cfg(test)]
pub(crate) fn authority_of(dir: &Path) -> ed25519_dalek::SigningKey {
    let text = std::fs::read_to_string(dir.join("consortium").join(super::authority::AUTHORITY_KEY)).unwrap();
    Authority::parse(&text).unwrap().key
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::keys::{SiteKeys, join};

    /// Sites a and b, and d that asks to join them.
    fn made() -> (tempfile::TempDir, SiteKeys, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let sites = crate::keys::init(dir.path(), &[("a", "h"), ("b", "h")]).unwrap();
        let (_, request) = join(dir.path(), "d", "h", &sites[0].join("index-key.hex")).unwrap();
        (dir, SiteKeys::load(&sites[0]).unwrap(), request)
    }

    fn authority(dir: &Path) -> PathBuf {
        dir.join("consortium/authority-key.txt")
    }

    #[test]
    fn what_the_authority_signs_every_site_and_every_judge_takes() {
        let (dir, a, request) = made();
        let mode = std::fs::metadata(authority(dir.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let admitted = admit(&request, &authority(dir.path()), None).unwrap();
        assert_eq!(
            (admitted.site.as_str(), admitted.file.clone()),
            ("d", dir.path().join("d/site-admission.txt"))
        );
        assert_eq!(admitted.keys, std::fs::read_to_string(&request).unwrap());
        let text = std::fs::read_to_string(&admitted.file).unwrap();
        let new = parse(&text).unwrap();
        assert_eq!(a.ring.admits(&new), Ok(()));
        assert_eq!(SitePublic::of(&new).unwrap().verifier_keys(), admitted.keys);

        // The same to whoever judges by the founders' keys and the authority's, and to the one that shares no code.
        let both = format!("{}{text}", a.verifier_keys());
        a.ring.learn_admitted(std::slice::from_ref(&new), &[]).unwrap();
        assert_eq!(VerifierKeys::parse(&both).unwrap(), *a.verifiers());
        assert_eq!(a.admissions(), line(&new));
        ledger_verifier::Keys::parse(&both).unwrap();
        assert!(VerifierKeys::parse(&text).is_err(), "without the authority's key");

        // To who goes on as another consortium, the site has signed batches, and cosigns nothing.
        let other = tempfile::tempdir().unwrap();
        let sites = crate::keys::init(other.path(), &[("a", "h"), ("b", "h")]).unwrap();
        let present = SiteKeys::load(&sites[0]).unwrap().verifier_keys();
        let line_of =
            |kind: &str| a.verifier_keys().lines().find(|line| line.contains(kind)).unwrap().to_owned();
        let parsed = |more: &str| {
            VerifierKeys::parse(&format!("{present}{}\n{more}", line_of("/authority+"))).unwrap()
        };
        let (without, with) = (parsed(""), parsed(&text));
        assert_eq!((&with.cosigners, &with.logs), (&without.cosigners, &without.logs));
        assert_eq!(with.of_batches(&new.site).count(), 1);

        let again = admit(&request, &authority(dir.path()), None).unwrap_err().to_string();
        assert!(again.contains("site-admission.txt"), "{again}");
        let elsewhere = dir.path().join("elsewhere.txt");
        admit(&request, &authority(dir.path()), Some(&elsewhere)).unwrap();
        assert_eq!(std::fs::read_to_string(elsewhere).unwrap(), text);
    }

    #[test]
    fn nothing_else_is_signed_and_nobody_else_signs() {
        let (dir, a, request) = made();
        let (other, b, _) = made();
        let refused = |request: &Path, key: &Path| {
            let out = dir.path().join("never");
            let error = admit(request, key, Some(&out)).unwrap_err().to_string();
            assert!(!out.exists());
            error
        };
        let foreign = refused(&request, &authority(other.path()));
        assert!(foreign.contains("asks to be admitted to"), "{foreign}");
        let ca = refused(&request, &dir.path().join("consortium/ca-key.pem"));
        assert!(ca.contains("no authority's key"), "{ca}");
        let text = std::fs::read_to_string(&request).unwrap();
        let changed = dir.path().join("changed");
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            std::fs::write(&changed, bytes).unwrap();
            refused(&changed, &authority(dir.path()));
        }
        for other in [String::new(), text.repeat(2), a.verifier_keys(), b.verifier_keys()] {
            std::fs::write(&changed, other).unwrap();
            assert!(refused(&changed, &authority(dir.path())).contains("no site's request"));
        }
    }

    #[test]
    fn the_word_for_one_consortium_is_none_in_another() {
        let (dir, a, request) = made();
        let (_other, b, _) = made();
        let admitted = admit(&request, &authority(dir.path()), None).unwrap();
        let text = std::fs::read_to_string(admitted.file).unwrap();
        let why = b.ring.admits(&parse(&text).unwrap()).unwrap_err();
        assert!(why.contains(&format!("to {}, and this is {}", a.origin(), b.origin())), "{why}");
        assert!(VerifierKeys::parse(&format!("{}{text}", b.verifier_keys())).is_err());
        assert!(ledger_verifier::Keys::parse(&format!("{}{text}", b.verifier_keys())).is_err());
        // Every byte of the line counts, here as at the judge's.
        let line = text.lines().nth(1).unwrap();
        for at in 0..line.len() {
            let mut bytes = line.as_bytes().to_vec();
            bytes[at] ^= 1;
            let Ok(bad) = String::from_utf8(bytes) else { continue };
            assert!(parse(&bad).is_none_or(|new| a.ring.admits(&new).is_err()), "byte {at}");
            assert!(
                ledger_verifier::Keys::parse(&format!("{}{bad}\n", a.verifier_keys())).is_err(),
                "byte {at}"
            );
        }
    }

    #[test]
    fn who_was_founded_without_an_authority_admits_nobody_and_is_told_what_to_do() {
        let (dir, _, request) = made();
        let admitted = admit(&request, &authority(dir.path()), None).unwrap();
        let new = parse(&std::fs::read_to_string(admitted.file).unwrap()).unwrap();
        for site in ["a", "consortium"] {
            let path = dir.path().join(site).join("public.json");
            let mut public: serde_json::Value =
                serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            public.as_object_mut().unwrap().remove("authority_key").unwrap();
            std::fs::write(&path, public.to_string()).unwrap();
        }
        let a = SiteKeys::load(&dir.path().join("a")).unwrap();
        let why = a.ring.admits(&new).unwrap_err();
        assert!(why.contains("`medulla keys init --continue`"), "{why}");
        let why = join(dir.path(), "e", "h", &dir.path().join("a/index-key.hex")).unwrap_err().to_string();
        assert!(why.contains("`medulla keys init --continue`"), "{why}");
        // A consortium that goes on from there has one of its own.
        let next = dir.path().join("next");
        let made = crate::keys::init_continuing(&next, &[("a", "h")], dir.path());
        assert!(SiteKeys::load(&made.unwrap()[0]).unwrap().ring.authority().is_ok());
    }
}
