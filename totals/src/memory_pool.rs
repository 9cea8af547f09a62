//! The bound on everything in memory that grows with the data: what the log adds up to, what was found wrong, and what
//! a range needs while it is locked. Whoever keeps such things has a share that says how much they take; together the
//! shares are never more than the operator allows.
//!
//! It counts what its users estimate. It must not be asked to wait for memory: a share is there or it is not, so
//! nothing can wait for itself.

use std::cell::Cell;
use std::rc::Rc;

/// What may be taken together. A clone is the same.
#[derive(Clone, Debug)]
pub struct MemoryPool(Rc<Bound>);

#[derive(Debug)]
struct Bound {
    bytes_max: usize,
    taken: Cell<usize>,
}

/// Part of the memory; given back when it is dropped.
#[derive(Debug)]
pub struct MemoryReservation {
    memory: MemoryPool,
    bytes: usize,
}

/// What is to be kept does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the expected totals and wrong cells of this scope take {wanted} bytes of memory at least, and memory_mib_max \
     allows {bytes_max}"
)]
pub struct TooLarge {
    /// How many bytes all of it would take together.
    pub wanted: usize,
    /// The bound.
    pub bytes_max: usize,
}

impl MemoryPool {
    /// As much as this.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        let taken = Cell::new(0);
        Self(Rc::new(Bound { bytes_max, taken }))
    }

    /// The bound.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        self.0.bytes_max
    }

    /// How much is not taken.
    #[must_use]
    pub fn left(&self) -> usize {
        self.0.bytes_max.saturating_sub(self.0.taken.get())
    }

    /// A share that takes nothing yet.
    #[must_use]
    pub fn share(&self) -> MemoryReservation {
        let memory = self.clone();
        MemoryReservation { memory, bytes: 0 }
    }

    /// A share of so much.
    ///
    /// # Errors
    /// It does not fit.
    pub fn take(&self, bytes: usize) -> Result<MemoryReservation, TooLarge> {
        let mut share = self.share();
        share.set(bytes)?;
        Ok(share)
    }
}

impl MemoryReservation {
    /// How much it takes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Of which memory.
    #[must_use]
    pub const fn memory(&self) -> &MemoryPool {
        &self.memory
    }

    /// Takes so much from now on.
    ///
    /// # Errors
    /// It does not fit; the share is what it was.
    pub fn set(&mut self, bytes: usize) -> Result<(), TooLarge> {
        let MemoryPool(bound) = &self.memory;
        let others = bound.taken.get().saturating_sub(self.bytes);
        let wanted = others.saturating_add(bytes);
        if bytes > self.bytes && wanted > bound.bytes_max {
            let bytes_max = bound.bytes_max;
            return Err(TooLarge { wanted, bytes_max });
        }
        bound.taken.set(wanted);
        self.bytes = bytes;
        Ok(())
    }

    /// Takes so much more.
    ///
    /// # Errors
    /// It does not fit; the share is what it was.
    pub fn add(&mut self, bytes: usize) -> Result<(), TooLarge> {
        self.set(self.bytes.saturating_add(bytes))
    }

    /// Takes no more than so much from now on.
    pub fn shrink(&mut self, bytes: usize) {
        drop(self.split(self.bytes.saturating_sub(bytes)));
    }

    /// Parts so much of it off.
    pub fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self {
            memory: self.memory.clone(),
            bytes,
        }
    }

    /// Takes what `other` took.
    pub fn join(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for MemoryReservation {
    fn drop(&mut self) {
        let taken = &self.memory.0.taken;
        taken.set(taken.get().saturating_sub(self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_together_are_never_more_than_the_bound() {
        let memory = MemoryPool::new(10);
        let mut first = memory.take(6).unwrap();
        let refused = memory.take(5).unwrap_err();
        assert_eq!((refused.wanted, refused.bytes_max), (11, 10));
        let second = memory.take(4).unwrap();
        assert!(first.add(1).is_err());
        assert_eq!((first.bytes(), memory.left()), (6, 0));
        drop(second);
        first.set(10).unwrap();
        assert!(first.set(11).is_err());
        first.shrink(3);
        assert_eq!(memory.left(), 7);
        let half = first.split(1);
        assert_eq!((first.bytes(), half.bytes(), memory.left()), (2, 1, 7));
        first.join(half);
        assert_eq!((first.bytes(), memory.left()), (3, 7));
        drop(first);
        assert_eq!(memory.left(), 10);
    }
}
