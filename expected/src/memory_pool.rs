//! The bound on everything in memory that grows with the data: counts that are not spilled yet, audit findings, and the
//! cells of a locked range. Each holder has a reservation for its estimated size; together the reservations never exceed
//! the limit that the operator has set.
//!
//! It counts estimates, not allocations. It never waits for memory: a reservation succeeds or fails at once, so no holder
//! can wait for itself.

use std::cell::Cell;
use std::rc::Rc;

/// A pool of memory. Clones share it.
#[derive(Clone, Debug)]
pub struct MemoryPool(Rc<Bound>);

#[derive(Debug)]
struct Bound {
    bytes_max: usize,
    reserved: Cell<usize>,
}

/// A part of the pool, returned when it is dropped.
#[derive(Debug)]
pub struct MemoryReservation {
    pool: MemoryPool,
    bytes: usize,
}

/// A reservation does not fit into the pool. Whoever audits or restores a range divides it then, down to the cells of one key:
/// an operator meets this only if one key does not fit, or what waits to be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the wrong and the changing cells of one key, or of the events that wait, take {wanted} bytes of memory at least, and \
     memory_mib_max allows {bytes_max}"
)]
pub struct ResourcesExhausted {
    /// The bytes of all reservations, the failed one included.
    pub wanted: usize,
    pub bytes_max: usize,
}

impl MemoryPool {
    pub fn new(bytes_max: usize) -> Self {
        let reserved = Cell::new(0);
        Self(Rc::new(Bound {
            bytes_max,
            reserved,
        }))
    }

    pub fn bytes_max(&self) -> usize {
        self.0.bytes_max
    }

    /// The bytes that are not reserved.
    pub fn available(&self) -> usize {
        self.0.bytes_max.saturating_sub(self.0.reserved.get())
    }

    /// An empty reservation.
    pub fn reservation(&self) -> MemoryReservation {
        let pool = self.clone();
        MemoryReservation { pool, bytes: 0 }
    }

    /// Reserves `bytes`.
    pub fn try_reserve(&self, bytes: usize) -> Result<MemoryReservation, ResourcesExhausted> {
        let mut reservation = self.reservation();
        reservation.try_resize(bytes)?;
        Ok(reservation)
    }
}

impl MemoryReservation {
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    pub const fn pool(&self) -> &MemoryPool {
        &self.pool
    }

    /// Changes its size to `bytes`.
    ///
    /// # Errors
    /// It does not fit; the size has not changed.
    pub fn try_resize(&mut self, bytes: usize) -> Result<(), ResourcesExhausted> {
        let MemoryPool(bound) = &self.pool;
        let others = bound.reserved.get().saturating_sub(self.bytes);
        let wanted = others.saturating_add(bytes);
        if bytes > self.bytes && wanted > bound.bytes_max {
            let bytes_max = bound.bytes_max;
            return Err(ResourcesExhausted { wanted, bytes_max });
        }
        bound.reserved.set(wanted);
        self.bytes = bytes;
        Ok(())
    }

    /// Grows it by `bytes`.
    ///
    /// # Errors
    /// It does not fit; the size has not changed.
    pub fn try_grow(&mut self, bytes: usize) -> Result<(), ResourcesExhausted> {
        self.try_resize(self.bytes.saturating_add(bytes))
    }

    /// Returns what it has beyond `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        drop(self.split(self.bytes.saturating_sub(bytes)));
    }

    /// Moves up to `bytes` of it into a new reservation.
    pub fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self {
            pool: self.pool.clone(),
            bytes,
        }
    }

    /// Merges `other` into it.
    pub fn merge(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for MemoryReservation {
    fn drop(&mut self) {
        let reserved = &self.pool.0.reserved;
        reserved.set(reserved.get().saturating_sub(self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservations_never_exceed_the_bound_together() {
        let pool = MemoryPool::new(10);
        let mut first = pool.try_reserve(6).unwrap();
        let refused = pool.try_reserve(5).unwrap_err();
        assert_eq!((refused.wanted, refused.bytes_max), (11, 10));
        let second = pool.try_reserve(4).unwrap();
        assert!(first.try_grow(1).is_err());
        assert_eq!((first.bytes(), pool.available()), (6, 0));
        drop(second);
        first.try_resize(10).unwrap();
        assert!(first.try_resize(11).is_err());
        first.shrink_to(3);
        assert_eq!(pool.available(), 7);
        let half = first.split(1);
        assert_eq!((first.bytes(), half.bytes(), pool.available()), (2, 1, 7));
        first.merge(half);
        assert_eq!((first.bytes(), pool.available()), (3, 7));
        drop(first);
        assert_eq!(pool.available(), 10);
    }
}
