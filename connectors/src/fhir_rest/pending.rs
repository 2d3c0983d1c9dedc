//! Answers to be asked for later (FHIR's asynchronous request pattern). In memory: after a restart the status
//! URL answers 404, and the client sends again, which makes no second message.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::Reply;

pub(super) struct Pending {
    answers: Mutex<Answers>,
    max: usize,
}

#[derive(Default)]
struct Answers {
    by_id: HashMap<String, Option<Reply>>,
    /// Oldest first.
    finished: VecDeque<String>,
}

pub(super) enum Answer {
    Unknown,
    Unfinished,
    Finished(Reply),
}

impl Pending {
    pub(super) fn new(max: usize) -> Pending {
        Pending { answers: Mutex::default(), max: max.max(1) }
    }

    /// A new id, which nobody can guess; `None` if too many are unfinished. The oldest answers make room.
    pub(super) fn begin(&self) -> Option<String> {
        let mut answers = self.lock();
        if answers.by_id.len() >= self.max {
            let oldest = answers.finished.pop_front()?;
            answers.by_id.remove(&oldest);
        }
        let id = format!("{:032x}", rand::random::<u128>());
        answers.by_id.insert(id.clone(), None);
        Some(id)
    }

    pub(super) fn finish(&self, id: String, reply: Reply) {
        let mut answers = self.lock();
        if let Some(answer) = answers.by_id.get_mut(&id) {
            *answer = Some(reply);
            answers.finished.push_back(id);
        }
    }

    pub(super) fn get(&self, id: &str) -> Answer {
        match self.lock().by_id.get(id) {
            None => Answer::Unknown,
            Some(None) => Answer::Unfinished,
            Some(Some(reply)) => Answer::Finished(reply.clone()),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().by_id.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finished_answers_make_room_and_unfinished_ones_do_not() {
        let pending = Pending::new(2);
        let (first, second) = (pending.begin().unwrap(), pending.begin().unwrap());
        assert!(pending.begin().is_none());
        pending.finish(second.clone(), Reply { status: 201, ..Reply::default() });
        assert!(matches!(pending.get(&second), Answer::Finished(reply) if reply.status == 201));
        let third = pending.begin().unwrap();
        assert!(matches!(pending.get(&second), Answer::Unknown));
        assert!(matches!(pending.get(&first), Answer::Unfinished));
        assert!(matches!(pending.get(&third), Answer::Unfinished));
    }
}
