//! The bounds of a model: a few events, cells, partitions and ranges, and a budget of faults.

use stitch_common::cell::{Cell, CellSlot, Counter, EventTime, Granularity};
use stitch_common::event::slot;
use stitch_common::range::{RangeBits, RangeId};
use stitch_totals::scan_key::{PackedSlot, ScanKey};

use crate::fault::Faults;
use crate::rule::Rule;

/// The most partitions of the log.
pub const PARTITIONS: usize = 2;
/// The most ranges.
pub const RANGES: usize = 2;
/// The most cells, over all ranges.
pub const CELLS: usize = 4;
/// Two processors: a third one could only wait.
pub const PROCESSORS: usize = 2;

/// How the restorator corrects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CorrectionMode {
    /// Under the range's exclusive lock: rules R2 to R8.
    #[default]
    Locked,
    /// Cells without an event at or above the base cut are corrected without a lock; no other cells are.
    Unlocked,
    /// First those, then the others under the lock.
    Both,
}

/// A small Stitch.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// The log, partition by partition: each event is the cells that it adds to.
    pub log: Vec<Vec<Vec<usize>>>,
    /// The range of each cell.
    pub cells: Vec<usize>,
    pub faults: Faults,
    /// The rule that is removed.
    pub without: Option<Rule>,
    pub mode: CorrectionMode,
    product_cells: Vec<ProductCell>,
}

/// A cell as the product knows it.
#[derive(Clone, Debug)]
pub struct ProductCell {
    pub cell: Cell,
    pub scan_key: ScanKey,
    pub slot: PackedSlot,
}

impl Bounds {
    /// A log, written as in `01/2`: a digit is an event that adds to this cell, letters in brackets are one event that
    /// adds to several (`(01)`), and a slash begins the next partition. `ranges` gives each cell's range: `0011`.
    ///
    /// # Panics
    /// If they exceed what the model has room for.
    pub fn new(log: &str, ranges: &str) -> Self {
        let digit = |c: char| c.to_digit(10).and_then(|n| usize::try_from(n).ok());
        let cells: Vec<usize> = ranges.chars().filter_map(digit).collect();
        let mut partitions = vec![Vec::new()];
        let mut several: Option<Vec<usize>> = None;
        for c in log.chars() {
            let last = partitions.last_mut().expect("there is always one");
            match (c, digit(c)) {
                ('/', _) => partitions.push(Vec::new()),
                ('(', _) => several = Some(Vec::new()),
                (')', _) => last.extend(several.take()),
                (_, Some(cell)) => match &mut several {
                    Some(event) => event.push(cell),
                    None => last.push(vec![cell]),
                },
                (_, None) => {}
            }
        }
        let known = |cell: &usize| *cell < cells.len();
        assert!(partitions.len() <= PARTITIONS && cells.len() <= CELLS && !cells.is_empty());
        assert!(cells.iter().all(|range| *range < RANGES));
        assert!(partitions.iter().flatten().flatten().all(known));
        let product_cells = product_cells(&cells);
        Self {
            log: partitions,
            cells,
            faults: Faults::default(),
            without: None,
            mode: CorrectionMode::default(),
            product_cells,
        }
    }

    pub const fn with(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    pub const fn without(mut self, rule: Rule) -> Self {
        self.without = Some(rule);
        self
    }

    pub const fn corrected(mut self, mode: CorrectionMode) -> Self {
        self.mode = mode;
        self
    }

    /// Whether this rule is removed.
    pub fn lacks(&self, rule: Rule) -> bool {
        self.without == Some(rule)
    }

    pub fn ranges(&self) -> usize {
        self.cells.iter().max().map_or(0, |range| range + 1)
    }

    pub fn cells_of(&self, range: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.cells.len()).filter(move |&cell| self.cells[cell] == range)
    }

    /// A cell as the product knows it.
    pub fn product(&self, cell: usize) -> &ProductCell {
        &self.product_cells[cell]
    }

    /// The index of a cell of the product.
    pub fn index_of(&self, cell: &Cell) -> Option<usize> {
        self.product_cells.iter().position(|one| one.cell == *cell)
    }

    /// The amount that an event adds to each of its cells: a power of two of its own, so that no two errors cancel out.
    pub fn amount(&self, partition: usize, offset: usize) -> i16 {
        let before: usize = self.log[..partition].iter().map(Vec::len).sum();
        1 << (before + offset)
    }

    /// The total of a cell over the events of a partition from one offset up to another.
    pub fn sum(&self, partition: usize, from: u8, to: u8, cell: usize) -> i16 {
        let span = usize::from(from)..usize::from(to.max(from));
        span.filter(|&offset| self.log[partition][offset].contains(&cell))
            .map(|offset| self.amount(partition, offset))
            .sum()
    }

    /// Whether any event of a partition from one offset up to another adds to a range.
    pub fn touches(&self, partition: usize, from: u8, to: u8, range: usize) -> bool {
        let span = usize::from(from)..usize::from(to.max(from));
        let of_range = |cell: &usize| self.cells[*cell] == range;
        span.into_iter()
            .any(|offset| self.log[partition][offset].iter().any(of_range))
    }
}

fn product_cells(ranges: &[usize]) -> Vec<ProductCell> {
    let bits = RangeBits::new(1).expect("one bit is allowed");
    let time = EventTime::from_ms(0).expect("1970 is a year of events");
    let slot: CellSlot = slot(Granularity::All, time);
    let packed = PackedSlot::pack(slot).expect("the bucket of all time begins at a full hour");
    let mut keys = 0..;
    let one = |range: &usize| {
        let wanted = |counter: &Counter| bits.range_of(counter.token()) == range_id(*range);
        let mut counters = keys
            .by_ref()
            .map(|key: u32| Counter::new("c", key.to_string()));
        let counter = counters.find(wanted).expect("half of all keys");
        ProductCell {
            cell: Cell {
                counter: counter.clone(),
                slot,
            },
            scan_key: ScanKey::of(counter),
            slot: packed,
        }
    };
    ranges.iter().map(one).collect()
}

/// The product's id of a range.
pub fn range_id(range: usize) -> RangeId {
    RangeId(u16::try_from(range).expect("two ranges"))
}
