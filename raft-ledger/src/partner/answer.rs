//! What this site answers to one that asks about its own keys.

use std::sync::Arc;

use bytes::Bytes;

use super::KEYS_MAX;
use super::request::{Request, encode_digest, encode_keys};
use crate::blocking;
use crate::record::SiteName;
use crate::seal::Sealer;

/// `home`: whose certificate the request came with. Nobody can ask about another site's keys, or hand any over.
pub(crate) async fn answer(sealer: Arc<Sealer>, home: &str, body: Bytes) -> Result<Bytes, String> {
    let home = SiteName::new(home).ok_or("no site has such a name")?;
    let request = Request::decode(&body).ok_or("a request about keys could not be read")?;
    if sealer.is_own(&home) {
        return Err("a site holds no keys for itself".into());
    }
    blocking::run(move || act(&sealer, &home, request)).await.map_err(|e| e.to_string())?
}

/// Blocks.
fn act(sealer: &Sealer, home: &SiteName, request: Request) -> Result<Bytes, String> {
    let store = sealer.key_store();
    let held = Some(home);
    let answer = match request {
        Request::Hold(keys) => sealer.hold(home, keys).map_err(|e| e.to_string())?.concat(),
        Request::Digest => encode_digest(&store.digest(held)),
        Request::List(after) => store.ids_between(held, (after, None), KEYS_MAX).concat(),
        Request::Give(ids) => encode_keys(&store.give(held, &ids)),
        Request::Drop(ids) => {
            store.destroy(held, &ids).map_err(|e| e.to_string())?;
            Vec::new()
        }
    };
    Ok(answer.into())
}
