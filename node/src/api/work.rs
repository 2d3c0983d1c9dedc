//! What takes long at this site, and how far it is: whoever asked for it waits for the answer, and looks here meanwhile.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::{get, web};
use raft_ledger::Progress;
use serde::Serialize;
use utoipa::ToSchema;

use super::ApiError;
use crate::http::Identity;

/// One thing that is under way.
#[derive(Clone, Serialize, ToSchema)]
pub struct Work {
    /// What was asked for: `verify`, `export`, `backup`, `archive`.
    work: &'static str,
    /// What of it is done now, in words: "leaves checked", "bytes".
    doing: &'static str,
    done: u64,
    /// 0: not known yet.
    total: u64,
}

/// All that is under way, in the order in which it began.
#[derive(Clone, Default)]
pub struct Works(Arc<Mutex<BTreeMap<u64, Work>>>);

/// One of them, until it is dropped.
pub struct UnderWay {
    works: Works,
    number: u64,
}

impl Works {
    pub fn begin(&self, work: &'static str) -> UnderWay {
        let mut all = self.lock();
        let number = all.last_key_value().map_or(0, |(last, _)| last + 1);
        all.insert(number, Work { work, doing: "", done: 0, total: 0 });
        UnderWay { works: self.clone(), number }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Work>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay {
    pub fn is(&self, what: &'static str, Progress { done, total }: Progress) {
        if let Some(work) = self.works.lock().get_mut(&self.number) {
            *work = Work { work: work.work, doing: what, done, total };
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.works.lock().remove(&self.number);
    }
}

/// What this site is busy with for whoever asked, and how far it is.
#[utoipa::path(path = "/api/ledger/work", tag = "ledger",
    responses((status = 200, body = Vec<Work>), (status = 403, body = ApiError)))]
#[get("/ledger/work")]
pub async fn look(works: web::Data<Works>, who: Identity) -> Result<web::Json<Vec<Work>>, ApiError> {
    who.must_administer()?;
    Ok(web::Json(works.lock().values().cloned().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_seen_while_it_lasts() {
        let works = Works::default();
        let (first, second) = (works.begin("backup"), works.begin("verify"));
        second.is("leaves verified", Progress { done: 3, total: 9 });
        drop(first);
        let third = works.begin("export");
        let seen = serde_json::to_value(works.lock().values().collect::<Vec<_>>()).unwrap();
        let expected = serde_json::json!([
            { "work": "verify", "doing": "leaves verified", "done": 3, "total": 9 },
            { "work": "export", "doing": "", "done": 0, "total": 0 },
        ]);
        assert_eq!(seen, expected);
        drop((second, third));
        assert!(works.lock().is_empty());
    }
}
