//! Whether what clients saw is one append-only log: linearizability (Herlihy and Wing), for this one model.
//!
//! Values are unique, so the log as it is read at the end says in which order the appends took effect. Then an order in
//! time exists exactly if each append's earliest possible moment, in the order of the log, is before its answer: no
//! search is needed, and nothing is missed.

use std::collections::{HashMap, HashSet};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Append(u64),
    /// How many values there are.
    Size,
    /// The value at an index.
    Read(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Appended at this index.
    At(u64),
    /// Not appended, and never will be.
    Refused,
    Size(u64),
    Value(u64),
    /// There is no such index yet.
    Nothing,
}

/// Times are numbers that grow with every event.
#[derive(Clone, Debug)]
pub struct Op {
    /// The client.
    pub who: String,
    pub call: Call,
    pub from: u64,
    /// `None`: nobody knows what became of it.
    pub answer: Option<(u64, Answer)>,
}

/// Whether all of `ops` can have taken effect one after the other, each between call and answer, and left `log`.
pub fn check(ops: &[Op], log: &[u64]) -> Result<(), String> {
    let mut index_of = HashMap::new();
    for (value, index) in log.iter().zip(0u64..) {
        if let Some(before) = index_of.insert(*value, index) {
            return Err(format!("value {value} stands at {before} and at {index}"));
        }
    }
    let appended: HashSet<u64> = ops.iter().filter_map(appends).collect();
    if let Some(value) = log.iter().find(|value| !appended.contains(value)) {
        return Err(format!("value {value} stands in the log, and nobody appended it"));
    }
    ops.iter().try_for_each(|op| agrees(op, log, &index_of))?;
    let earliest = earliest(ops, log, &index_of)?;
    ops.iter().try_for_each(|op| saw_what_was_there(op, &earliest))
}

fn appends(op: &Op) -> Option<u64> {
    match op.call {
        Call::Append(value) => Some(value),
        _ => None,
    }
}

/// What was answered is what the log holds, whenever it took effect.
fn agrees(op: &Op, log: &[u64], index_of: &HashMap<u64, u64>) -> Result<(), String> {
    let Some((_, answer)) = op.answer else { return Ok(()) };
    let holds = match (op.call, answer) {
        (Call::Append(value), Answer::At(index)) => index_of.get(&value) == Some(&index),
        (Call::Append(value), Answer::Refused) => !index_of.contains_key(&value),
        (Call::Size, Answer::Size(size)) => size <= log.len() as u64,
        (Call::Read(index), Answer::Value(value)) => log.get(index as usize) == Some(&value),
        (Call::Read(_), Answer::Nothing) => true,
        _ => false,
    };
    if holds {
        Ok(())
    } else {
        Err(format!("{} was told what the log of {} does not hold: {op:?}", op.who, log.len()))
    }
}

/// The earliest moment at which each value of the log can have been appended, and what says so.
fn earliest<'o>(
    ops: &'o [Op],
    log: &[u64],
    index_of: &HashMap<u64, u64>,
) -> Result<Vec<(u64, &'o Op)>, String> {
    // By index: whatever was called before the value was there.
    let mut before: Vec<Vec<&Op>> = vec![Vec::new(); log.len()];
    let mut answered = vec![None; log.len()];
    for op in ops {
        let index = match (op.call, op.answer) {
            (Call::Append(value), _) => index_of.get(&value).copied(),
            (Call::Read(index), Some((_, Answer::Nothing))) => Some(index),
            (_, Some((_, Answer::Size(size)))) => Some(size),
            _ => None,
        };
        let Some(index) = index.map(|index| index as usize).filter(|index| *index < log.len()) else {
            continue;
        };
        before[index].push(op);
        if appends(op).is_some() {
            answered[index] = op.answer.map(|(until, _)| (until, op));
        }
    }
    let mut earliest: Vec<(u64, &Op)> = Vec::with_capacity(log.len());
    for (before, answered) in before.into_iter().zip(answered) {
        let bounds = before.into_iter().map(|op| (op.from, op)).chain(earliest.last().copied());
        // Each has at least its own append.
        let Some(bound) = bounds.max_by_key(|(from, _)| *from) else { continue };
        if let Some((until, op)) = answered.filter(|(until, _)| *until < bound.0) {
            return Err(format!("{op:?} was answered at {until}, and must come after {:?}", bound.1));
        }
        earliest.push(bound);
    }
    Ok(earliest)
}

fn saw_what_was_there(op: &Op, earliest: &[(u64, &Op)]) -> Result<(), String> {
    let (until, last) = match (op.call, op.answer) {
        (Call::Read(index), Some((until, Answer::Value(_)))) => (until, Some(index)),
        (_, Some((until, Answer::Size(size)))) => (until, size.checked_sub(1)),
        _ => return Ok(()),
    };
    match last.and_then(|last| earliest.get(last as usize)) {
        Some((from, because)) if until < *from => {
            Err(format!("{op:?} saw index {last:?} before it can have been there, for {because:?}"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use rand::seq::SliceRandom;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha12Rng;

    use super::*;

    fn op(call: Call, from: u64, answer: Option<(u64, Answer)>) -> Op {
        Op { who: "client".into(), call, from, answer }
    }

    fn append(value: u64, from: u64, until: u64, index: u64) -> Op {
        op(Call::Append(value), from, Some((until, Answer::At(index))))
    }

    #[test]
    fn what_no_log_can_do_is_found() {
        let good = [
            append(10, 0, 3, 0),
            append(11, 1, 2, 1),
            op(Call::Append(12), 4, None),
            op(Call::Append(13), 5, None),
            op(Call::Size, 6, Some((7, Answer::Size(2)))),
            op(Call::Read(1), 8, Some((9, Answer::Value(11)))),
            op(Call::Read(2), 10, Some((11, Answer::Nothing))),
            op(Call::Append(14), 12, Some((13, Answer::Refused))),
        ];
        for log in [&[10, 11][..], &[10, 11, 12], &[10, 11, 13, 12]] {
            check(&good, log).unwrap();
        }
        let planted = [
            ("an acknowledged value is lost", op(Call::Append(15), 14, Some((15, Answer::At(3))))),
            ("two were told of one index", append(15, 14, 15, 1)),
            ("a size that is too old", op(Call::Size, 14, Some((15, Answer::Size(1))))),
            ("a size beyond the end", op(Call::Size, 14, Some((15, Answer::Size(4))))),
            ("a value that is missed", op(Call::Read(1), 14, Some((15, Answer::Nothing)))),
            ("another value", op(Call::Read(1), 14, Some((15, Answer::Value(10))))),
            ("an answer to another question", op(Call::Size, 14, Some((15, Answer::Nothing)))),
        ];
        for (what, planted) in planted {
            let ops = [&good[..], &[planted]].concat();
            assert!(check(&ops, &[10, 11, 12]).is_err(), "{what}");
        }
        for (what, log) in [
            ("twice", &[10, 11, 10][..]),
            ("nobody's", &[10, 11, 99]),
            ("refused", &[10, 11, 14]),
            ("others", &[11, 10]),
            ("fewer", &[10]),
        ] {
            assert!(check(&good, log).is_err(), "{what}");
        }
        // Called after the other was answered, and before it in the log.
        assert!(check(&[append(1, 0, 1, 1), append(2, 2, 3, 0)], &[2, 1]).is_err());
        check(&[append(1, 0, 2, 1), append(2, 1, 3, 0)], &[2, 1]).unwrap();
        // A value that nobody answered for was seen to be missing, and then something after it was seen.
        let seen = op(Call::Read(0), 0, Some((1, Answer::Value(1))));
        let missed = op(Call::Read(0), 2, Some((3, Answer::Nothing)));
        let unanswered = op(Call::Append(1), 0, None);
        assert!(check(&[unanswered, seen, missed], &[1]).is_err());
    }

    /// Small histories, many of which hold and many of which do not, against all orders that there are.
    #[test]
    fn it_says_what_a_search_through_all_orders_says() {
        let mut rng = ChaCha12Rng::seed_from_u64(7);
        let (mut held, mut failed) = (0, 0);
        for _ in 0..4_000 {
            let (ops, log) = history(&mut rng);
            let found = check(&ops, &log);
            let expected = exists(&ops, &log, &mut vec![false; ops.len()], &mut Vec::new());
            assert_eq!(found.is_ok(), expected, "{found:?}\n{ops:#?}\n{log:?}");
            *if expected { &mut held } else { &mut failed } += 1;
        }
        assert!(held > 400 && failed > 400, "{held} held, {failed} did not");
    }

    /// What a log would answer, at times as they may be, now and then with another answer.
    fn history(rng: &mut ChaCha12Rng) -> (Vec<Op>, Vec<u64>) {
        let count = rng.gen_range(2..7);
        let mut times: Vec<u64> = (0..2 * count).collect();
        times.shuffle(rng);
        let mut spans: Vec<(u64, u64)> =
            times.chunks(2).map(|two| (two[0].min(two[1]), two[0].max(two[1]))).collect();
        spans.sort_by_cached_key(|(from, until)| rng.gen_range(*from..*until));
        let (mut ops, mut log) = (Vec::new(), Vec::new());
        for (value, (from, until)) in spans.into_iter().enumerate() {
            let value = value as u64 + 100;
            let off = |rng: &mut ChaCha12Rng, right: u64| match rng.gen_range(0..12) {
                0 => right + 1,
                1 => right.saturating_sub(1),
                _ => right,
            };
            let size = log.len() as u64;
            let (call, answer) = match rng.gen_range(0..4) {
                0 => (Call::Size, Answer::Size(off(rng, size))),
                1 => {
                    let index = rng.gen_range(0..size + 2);
                    let seen = log.get(index as usize).copied();
                    (Call::Read(off(rng, index)), seen.map_or(Answer::Nothing, Answer::Value))
                }
                _ => {
                    log.push(value);
                    (Call::Append(value), Answer::At(off(rng, size)))
                }
            };
            let is_known = !matches!(call, Call::Append(_)) || rng.gen_bool(0.8);
            ops.push(op(call, from, is_known.then_some((until, answer))));
        }
        if rng.gen_ratio(1, 10) {
            log.pop();
        }
        (ops, log)
    }

    /// Whether the ops that are not `done` can follow upon `now` and lead to `log`.
    fn exists(ops: &[Op], log: &[u64], done: &mut Vec<bool>, now: &mut Vec<u64>) -> bool {
        let open = |op: &Op| op.answer.map_or(u64::MAX, |(until, _)| until);
        let left: Vec<usize> = (0..ops.len()).filter(|n| !done[*n]).collect();
        let is_free = |n: usize| left.iter().all(|other| open(&ops[*other]) > ops[n].from);
        // What nobody was told of need not have happened.
        if now == log && left.iter().all(|n| ops[*n].answer.is_none()) {
            return true;
        }
        for n in left.iter().copied().filter(|n| is_free(*n)) {
            let size = now.len();
            let fits = match (ops[n].call, ops[n].answer.map(|(_, answer)| answer)) {
                (Call::Append(value), None) => {
                    now.push(value);
                    true
                }
                (Call::Append(value), Some(Answer::At(index))) => {
                    now.push(value);
                    index == size as u64
                }
                (Call::Size, Some(Answer::Size(seen))) => seen == size as u64,
                (Call::Read(index), Some(answer)) => {
                    answer == now.get(index as usize).map_or(Answer::Nothing, |value| Answer::Value(*value))
                }
                _ => false,
            };
            done[n] = true;
            if fits && exists(ops, log, done, now) {
                return true;
            }
            done[n] = false;
            now.truncate(size);
        }
        false
    }
}
