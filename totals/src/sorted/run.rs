//! A sorted run: cells in scan order, in a file of the spill folder.
//!
//! The file is a sequence of blocks: the payload's length and its CRC-32, four bytes each, then the payload. Each cell
//! begins with a byte: 1 if a counter follows (token, rank of the name, length of the key, key), 0 if it is a cell of the
//! same counter as the one before. The slot and the total follow. The first cell of a block has its counter. Numbers but
//! the token are varints of seven bits a byte; totals are zigzag-encoded. The format lives as long as the process, so it
//! has no version.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use stitch_common::cell::Amount;
use stitch_common::token::Token;
use stitch_common::wait::yield_now;

use super::counter_names::NameRank;
use super::spill_folder::{SpillError, SpillFolder, SpillReservation};
use super::tokens::TokenSelection;
use super::{CellTotal, SortedCells};
use crate::scan_key::PackedSlot;

/// About the bytes of a block; also what each open run takes in memory.
pub(super) const BLOCK_BYTES: usize = 64 << 10;
const HEADER_BYTES: usize = 8;

const SAME_COUNTER: u8 = 0;
const NEXT_COUNTER: u8 = 1;

/// A whole run. Its file goes away with it.
#[derive(Debug)]
pub struct Run {
    file: File,
    folder: SpillFolder,
    reservation: SpillReservation,
    bytes: u64,
    cells: u64,
    /// Of each block, its first token and where it begins.
    blocks: Vec<(Token, u64)>,
}

impl Run {
    /// The bytes of its file.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The number of cells.
    pub const fn cells(&self) -> u64 {
        self.cells
    }

    /// Reads all of its cells.
    pub fn into_cells(self) -> RunReader {
        Rc::new(self).cells_of(TokenSelection::ALL)
    }

    /// Reads the cells of these tokens.
    pub fn cells_of(self: &Rc<Self>, tokens: TokenSelection) -> RunReader {
        RunReader {
            run: Rc::clone(self),
            tokens,
            next_block: 0,
            block: Vec::new(),
            next: 0,
            cell: None,
        }
    }
}

/// Writes a run.
#[derive(Debug)]
pub struct RunWriter {
    run: Run,
    /// The payload of the block that is not written yet, behind room for its header.
    block: Vec<u8>,
    counter: Option<(Token, NameRank)>,
    key: Vec<u8>,
}

impl RunWriter {
    /// A run in `folder`.
    ///
    /// # Errors
    /// No file can be created.
    pub fn new(folder: &SpillFolder) -> Result<Self, SpillError> {
        folder.count_run();
        let run = Run {
            file: folder.file()?,
            folder: folder.clone(),
            reservation: folder.reserve(0)?,
            bytes: 0,
            cells: 0,
            blocks: Vec::new(),
        };
        Ok(Self {
            run,
            block: vec![0; HEADER_BYTES],
            counter: None,
            key: Vec::new(),
        })
    }

    /// Adds a cell, which lies behind the one before.
    ///
    /// # Errors
    /// The run is incomplete, and of no use.
    pub fn push(&mut self, cell: &CellTotal<'_>) -> Result<(), SpillError> {
        if self.block.len() == HEADER_BYTES {
            self.run.blocks.push((cell.token, self.run.bytes));
        }
        let is_same = self.counter == Some((cell.token, cell.name)) && self.key == cell.key;
        if is_same {
            self.block.push(SAME_COUNTER);
        } else {
            self.counter = Some((cell.token, cell.name));
            self.key.clear();
            self.key.extend_from_slice(cell.key);
            self.block.push(NEXT_COUNTER);
            self.block.extend_from_slice(&cell.token.0.to_le_bytes());
            push_varint(&mut self.block, u64::from(cell.name.0));
            push_varint(&mut self.block, cell.key.len() as u64);
            self.block.extend_from_slice(cell.key);
        }
        push_varint(&mut self.block, u64::from(cell.slot.bits()));
        push_varint(&mut self.block, zigzag(cell.total.0));
        self.run.cells += 1;
        if self.block.len() >= BLOCK_BYTES {
            self.write_block()?;
        }
        Ok(())
    }

    fn write_block(&mut self) -> Result<(), SpillError> {
        let payload = &self.block[HEADER_BYTES..];
        let length = u32::try_from(payload.len()).expect("a block has little more than 64 KiB");
        let checksum = crc32fast::hash(payload);
        self.block[..4].copy_from_slice(&length.to_le_bytes());
        self.block[4..HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
        let bytes = self.block.len() as u64;
        self.run.reservation.grow(bytes)?;
        self.run
            .file
            .write_all(&self.block)
            .map_err(|cause| self.run.folder.unusable(&cause))?;
        self.run.bytes += bytes;
        self.block.truncate(HEADER_BYTES);
        self.counter = None;
        Ok(())
    }

    /// The run, whole.
    ///
    /// # Errors
    /// It is incomplete, and of no use.
    pub fn finish(mut self) -> Result<Run, SpillError> {
        if self.block.len() > HEADER_BYTES {
            self.write_block()?;
        }
        Ok(self.run)
    }
}

/// Reads a run.
#[derive(Debug)]
pub struct RunReader {
    run: Rc<Run>,
    tokens: TokenSelection,
    /// The number of the next block.
    next_block: usize,
    /// The payload of the current one.
    block: Vec<u8>,
    /// Where the next cell begins in it.
    next: usize,
    cell: Option<ReadCell>,
}

#[derive(Clone, Copy, Debug)]
struct ReadCell {
    token: Token,
    name: NameRank,
    key_at: usize,
    key_length: usize,
    slot: PackedSlot,
    total: Amount,
}

impl RunReader {
    fn read_at(&self, position: u64, bytes: &mut [u8]) -> Result<(), SpillError> {
        let read = self.run.file.read_exact_at(bytes, position);
        read.map_err(|cause| self.run.folder.unusable(&cause))
    }

    fn read_block(&mut self) -> Result<bool, SpillError> {
        self.cell = None;
        self.next = 0;
        self.block.clear();
        let Some(position) = self.next_wanted_block() else {
            return Ok(false);
        };
        let mut header = [0; HEADER_BYTES];
        self.read_at(position, &mut header)?;
        let [a, b, c, d, checksum @ ..] = header;
        let length = u64::from(u32::from_le_bytes([a, b, c, d]));
        let begin = position + HEADER_BYTES as u64;
        if begin + length > self.run.bytes {
            return Err(self.run.folder.damaged());
        }
        let mut block = std::mem::take(&mut self.block);
        block.resize(usize::try_from(length).expect("32 bits fit"), 0);
        self.read_at(begin, &mut block)?;
        if crc32fast::hash(&block) != u32::from_le_bytes(checksum) {
            return Err(self.run.folder.damaged());
        }
        self.block = block;
        Ok(true)
    }

    /// Where the next block begins that can have a wanted token. A block ends with a token that is at most the first one
    /// of the next.
    fn next_wanted_block(&mut self) -> Option<u64> {
        while let Some((first, position)) = self.run.blocks.get(self.next_block) {
            self.next_block += 1;
            let next = self.run.blocks.get(self.next_block);
            let last = next.map_or(Token(i64::MAX), |(token, _)| *token);
            if self.tokens.overlaps(*first, last) {
                return Some(*position);
            }
        }
        None
    }

    /// Moves to the next wanted cell of the block; `false` at its end.
    fn find(&mut self) -> Result<bool, SpillError> {
        while self.decode()? {
            let token = self.cell.as_ref().map(|cell| cell.token);
            if token.is_some_and(|token| self.tokens.contains(token)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Decodes the cell at `next`; `false` at the end of the block.
    fn decode(&mut self) -> Result<bool, SpillError> {
        if self.next == self.block.len() {
            self.cell = None;
            return Ok(false);
        }
        let mut bytes = Payload {
            block: &self.block,
            at: self.next,
        };
        let Some(cell) = bytes.cell(self.cell) else {
            return Err(self.run.folder.damaged());
        };
        self.next = bytes.at;
        self.cell = Some(cell);
        Ok(true)
    }
}

impl SortedCells for RunReader {
    type Error = SpillError;

    fn current(&self) -> Option<CellTotal<'_>> {
        let cell = self.cell.as_ref()?;
        Some(CellTotal {
            token: cell.token,
            name: cell.name,
            key: &self.block[cell.key_at..][..cell.key_length],
            slot: cell.slot,
            total: cell.total,
        })
    }

    fn step(&mut self) -> Result<bool, SpillError> {
        self.find()
    }

    async fn load(&mut self) -> Result<bool, SpillError> {
        while self.read_block()? {
            yield_now().await;
            if self.find()? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// A block that is being decoded. `None` means: no cell begins here.
struct Payload<'a> {
    block: &'a [u8],
    at: usize,
}

impl Payload<'_> {
    fn cell(&mut self, before: Option<ReadCell>) -> Option<ReadCell> {
        let (token, name, key_at, key_length) = match self.byte()? {
            SAME_COUNTER => {
                let before = before?;
                (before.token, before.name, before.key_at, before.key_length)
            }
            NEXT_COUNTER => {
                let token = self.block.get(self.at..self.at + 8)?;
                let token = i64::from_le_bytes(token.try_into().ok()?);
                self.at += 8;
                let name = NameRank(u16::try_from(self.varint()?).ok()?);
                let key_length = usize::try_from(self.varint()?).ok()?;
                let key_at = self.at;
                self.at = key_at.checked_add(key_length)?;
                (Token(token), name, key_at, key_length)
            }
            _ => return None,
        };
        let slot = PackedSlot::from_bits(u32::try_from(self.varint()?).ok()?);
        let total = Amount(unzigzag(self.varint()?));
        (key_at + key_length <= self.block.len()).then_some(ReadCell {
            token,
            name,
            key_at,
            key_length,
            slot,
            total,
        })
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.block.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }
}

fn push_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(u8::try_from(number & 0x7f).expect("seven bits") | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).expect("seven bits"));
}

const fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

const fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}

#[cfg(test)]
mod tests;
