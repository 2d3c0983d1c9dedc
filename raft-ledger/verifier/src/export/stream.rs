//! Reading, checking and ordering at the same time: one thread reads and hashes the files, several check batches,
//! the caller's puts them in order. Pieces go round in turn, so their order needs no sorting.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use sha2::{Digest, Sha256};

use super::batch::{Checked, check};
use super::chain::Chain;
use super::{Export, files};
use crate::merkle::Hash;
use crate::{Keys, Refusal};

/// A batch with the chunks of its first message put together: 64 MiB twice, and what stands around them.
const BODY_MAX: usize = 130 << 20;
/// Batches, or about so many bytes, that go to a checking thread at once.
const PIECE_BATCHES: usize = 64;
const PIECE_BYTES: usize = 1 << 20;
/// Pieces that wait for each checking thread.
const WAITING: usize = 2;
const THREADS_MAX: usize = 8;

type Found = BTreeMap<String, (Hash, u64)>;

enum Part<B> {
    Start { file: usize, header: Vec<u8> },
    Batch { file: usize, offset: u64, body: B },
    Cut { file: usize, offset: u64 },
    End { file: usize, hash: Hash, bytes: u64 },
    Failed(Refusal),
}

/// Gives every batch of `names` to `chain`, in order; returns each file's hash and length.
pub(super) fn run(
    dir: &Path,
    names: &[String],
    keys: &Keys,
    chain: &mut Chain,
    report: &mut Export,
    progress: &mut dyn FnMut(u64),
) -> Result<Found, Refusal> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    thread::scope(|scope| {
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        for _ in 0..threads {
            let (input, work) = sync_channel::<Vec<Part<Vec<u8>>>>(WAITING);
            let (done, output) = sync_channel(WAITING);
            scope.spawn(move || {
                for piece in work {
                    let checked = piece.into_iter().map(|part| part.check(keys)).collect::<Vec<_>>();
                    if done.send(checked).is_err() {
                        return;
                    }
                }
            });
            inputs.push(input);
            outputs.push(output);
        }
        scope.spawn(move || Reader { dir, inputs, turn: 0, piece: Vec::new(), piece_bytes: 0 }.run(names));
        order(names, &outputs, chain, report, progress)
    })
}

fn order(
    names: &[String],
    outputs: &[Receiver<Vec<Part<Option<Checked>>>>],
    chain: &mut Chain,
    report: &mut Export,
    progress: &mut dyn FnMut(u64),
) -> Result<Found, Refusal> {
    let mut found = Found::new();
    let name = |file: usize| names.get(file).map_or("", String::as_str);
    // The reader gives in turn and stops: the first thread without a piece is behind the last one.
    for output in outputs.iter().cycle() {
        let Ok(piece) = output.recv() else { break };
        for part in piece {
            match part {
                Part::Failed(refusal) => return Err(refusal),
                Part::Start { file, header } => start(name(file), &header, chain, report),
                Part::Batch { file, offset, body: Some(batch) } => {
                    chain.batch(batch, name(file), offset, report);
                }
                Part::Batch { file, offset, body: None } => {
                    report.add(name(file), offset, Some(chain.tree.size()), "no batch of a known form");
                    chain.lost();
                }
                Part::Cut { file, offset } => {
                    let index = Some(chain.tree.size());
                    report.add(name(file), offset, index, "is cut off or has a wrong length here");
                    chain.lost();
                }
                Part::End { file, hash, bytes } => {
                    found.insert(name(file).to_owned(), (hash, bytes));
                }
            }
        }
        progress(chain.tree.size());
    }
    Ok(found)
}

/// `"MEDEXPT" ‖ version ‖ number of the first batch ‖ index of the next leaf`.
fn start(name: &str, header: &[u8], chain: &Chain, report: &mut Export) {
    let expected =
        [b"MEDEXPT\x01".as_slice(), &chain.batches.to_be_bytes(), &chain.tree.size().to_be_bytes()].concat();
    if !header.starts_with(b"MEDEXPT\x01") || header.len() != expected.len() {
        report.add(name, 0, None, "is not a file of entries of a known version");
    } else if chain.complete && header != expected {
        report.add(name, 0, None, "does not continue where the file before it ended");
    }
}

impl Part<Vec<u8>> {
    fn check(self, keys: &Keys) -> Part<Option<Checked>> {
        match self {
            Part::Batch { file, offset, body } => Part::Batch { file, offset, body: check(&body, keys) },
            Part::Start { file, header } => Part::Start { file, header },
            Part::Cut { file, offset } => Part::Cut { file, offset },
            Part::End { file, hash, bytes } => Part::End { file, hash, bytes },
            Part::Failed(refusal) => Part::Failed(refusal),
        }
    }
}

struct Reader<'a> {
    dir: &'a Path,
    inputs: Vec<SyncSender<Vec<Part<Vec<u8>>>>>,
    turn: usize,
    piece: Vec<Part<Vec<u8>>>,
    piece_bytes: usize,
}

/// Nobody takes pieces any more: the judging has ended early.
struct Stopped;

impl Reader<'_> {
    fn run(mut self, names: &[String]) {
        for (file, name) in names.iter().enumerate() {
            let read = self.file(file, name);
            let failed = match read {
                Ok(Ok(())) => continue,
                Ok(Err(Stopped)) => return,
                Err(error) => Part::Failed(files::io(&self.dir.join(name), error)),
            };
            let _ = self.give(failed, 0);
            break;
        }
        let _ = self.send();
    }

    fn file(&mut self, file: usize, name: &str) -> std::io::Result<Result<(), Stopped>> {
        let source = BufReader::with_capacity(1 << 20, File::open(self.dir.join(name))?);
        let mut source = Hashing { source, hasher: Sha256::new(), at: 0 };
        let header = source.take(24)?;
        let mut given = self.give(Part::Start { file, header }, 0);
        while given.is_ok() {
            let offset = source.at;
            let header = source.take(8)?;
            if header.is_empty() {
                break;
            }
            // The checksum behind the length tells transmission errors alone; the file's hash does so as well.
            let length = header.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes) as usize);
            let length = length.filter(|length| header.len() == 8 && *length <= BODY_MAX);
            let body = match length {
                Some(length) => Some(source.take(length)?).filter(|body| body.len() == length),
                None => None,
            };
            let Some(body) = body else {
                given = self.give(Part::Cut { file, offset }, 0);
                while !source.take(1 << 20)?.is_empty() {}
                break;
            };
            let bytes = body.len();
            given = self.give(Part::Batch { file, offset, body }, bytes);
        }
        if given.is_ok() {
            given = self.give(Part::End { file, hash: source.hasher.finalize().into(), bytes: source.at }, 0);
        }
        Ok(given)
    }

    fn give(&mut self, part: Part<Vec<u8>>, bytes: usize) -> Result<(), Stopped> {
        self.piece.push(part);
        self.piece_bytes += bytes;
        if self.piece.len() < PIECE_BATCHES && self.piece_bytes < PIECE_BYTES {
            return Ok(());
        }
        self.send()
    }

    fn send(&mut self) -> Result<(), Stopped> {
        self.piece_bytes = 0;
        let piece = std::mem::take(&mut self.piece);
        let turn = self.turn % self.inputs.len().max(1);
        self.turn += 1;
        self.inputs.get(turn).ok_or(Stopped)?.send(piece).map_err(|_| Stopped)
    }
}

struct Hashing {
    source: BufReader<File>,
    hasher: Sha256,
    at: u64,
}

impl Hashing {
    /// The next `length` bytes, fewer only at the end. Reserves no more than is there.
    fn take(&mut self, length: usize) -> std::io::Result<Vec<u8>> {
        // What is asked for is bounded; most batches are small enough to be reserved at once.
        let mut bytes = Vec::with_capacity(length.min(PIECE_BYTES));
        (&mut self.source).take(length as u64).read_to_end(&mut bytes)?;
        self.hasher.update(&bytes);
        self.at += bytes.len() as u64;
        Ok(bytes)
    }
}
