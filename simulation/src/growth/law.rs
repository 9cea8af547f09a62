//! Laws: what was counted, as a sum of terms of a fleet's size, by least squares of the relative deviations.

use super::phases::Growth;
use super::shape::Shape;

/// A term: its name, and its value for a fleet.
type Term = (&'static str, fn(Shape) -> f64);

/// What grows, and the terms that it is a sum of.
pub(super) struct Quantity {
    pub(super) name: &'static str,
    pub(super) of: fn(&Growth) -> f64,
    pub(super) terms: &'static [Term],
}

/// A quantity as a sum of terms.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Law {
    pub(super) name: &'static str,
    /// Each with its factor.
    pub(super) terms: Vec<(&'static str, f64)>,
    /// The largest deviation of what was counted, as a share of it.
    pub(super) deviation: f64,
}

const fn number(size: usize) -> f64 {
    size as f64
}

const EACH: Term = ("1", |_| 1.0);
const PROCESSORS: Term = ("processors", |shape| number(shape.processors));
const PARTITIONS: Term = ("partitions", |shape| number(shape.partitions));
const RANGES: Term = ("ranges", |shape| number(shape.ranges()));
/// A shared lock: of one processor in one range.
const LOCKS: Term = ("locks", |shape| number(shape.active() * shape.ranges()));
/// Each of a range's locks that is taken lists those before it.
const LISTED: Term = ("locks × processors", |shape| {
    number(shape.active() * shape.active() * shape.ranges())
});
/// Each range reads the ceilings of all partitions.
const CEILINGS: Term = ("ranges × partitions", |shape| {
    number(shape.ranges() * shape.partitions)
});
/// The writes of all partitions that always have events: see `ceiling_interval` in `processor/src/engine.rs`.
const RAISES: Term = ("raises", |shape| {
    let partitions = number(shape.partitions);
    (50.0 * partitions).min(250.0).max(2.0 * partitions)
});

/// Everything that a law is given for.
pub(super) const QUANTITIES: &[Quantity] = &[
    Quantity {
        name: "start: writes",
        of: |growth| growth.start.writes,
        terms: &[PROCESSORS, PARTITIONS, LOCKS],
    },
    Quantity {
        name: "start: reads",
        of: |growth| growth.start.reads,
        terms: &[PROCESSORS, PARTITIONS, LOCKS],
    },
    Quantity {
        name: "start: KiB read",
        of: |growth| growth.start.kib_read,
        terms: &[PARTITIONS, LISTED],
    },
    Quantity {
        name: "at rest: writes a second",
        of: |growth| growth.rest.writes,
        terms: &[PROCESSORS],
    },
    Quantity {
        name: "counting: writes a second",
        of: |growth| growth.steady.writes,
        terms: &[PROCESSORS, RAISES],
    },
    Quantity {
        name: "restoration: writes",
        of: |growth| growth.restoration.requests.writes,
        terms: &[EACH, RANGES, LOCKS],
    },
    Quantity {
        name: "restoration: reads",
        of: |growth| growth.restoration.requests.reads,
        terms: &[RANGES, LOCKS, CEILINGS],
    },
    Quantity {
        name: "restoration: seconds without computing",
        of: |growth| growth.restoration.seconds,
        terms: &[EACH, RANGES],
    },
    Quantity {
        name: "rebalance: writes",
        of: |growth| growth.rebalance.writes,
        terms: &[PARTITIONS],
    },
    Quantity {
        name: "rebalance: reads",
        of: |growth| growth.rebalance.reads,
        terms: &[PARTITIONS],
    },
];

impl Quantity {
    /// The law that these counts follow. Those that are zero have no relative deviation, and are left out.
    pub(super) fn law(&self, growths: &[Growth]) -> Law {
        let counted = growths
            .iter()
            .map(|growth| (growth.shape, (self.of)(growth)));
        let counted: Vec<_> = counted.filter(|(_, count)| *count > 0.0).collect();
        let row = |(shape, count): &(Shape, f64)| {
            let terms = self.terms.iter();
            terms.map(|(_, term)| term(*shape) / count).collect()
        };
        let rows: Vec<Vec<f64>> = counted.iter().map(row).collect();
        let factors = least_squares(&rows, &vec![1.0; rows.len()]);
        let deviations = rows.iter().map(|row| {
            let sum: f64 = row.iter().zip(&factors).map(|(term, by)| term * by).sum();
            (sum - 1.0).abs()
        });
        let names = self.terms.iter().map(|(name, _)| *name);
        Law {
            name: self.name,
            deviation: deviations.fold(0.0, f64::max),
            terms: names.zip(factors).collect(),
        }
    }
}

/// The factors with which the sums over `rows` come closest to `values`: Gauss' normal equations.
fn least_squares(rows: &[Vec<f64>], values: &[f64]) -> Vec<f64> {
    let size = rows.first().map_or(0, Vec::len);
    let mut equations: Vec<Vec<f64>> = (0..size)
        .map(|one| {
            let product = |of: &dyn Fn(usize) -> f64| {
                let products = rows.iter().enumerate();
                products.map(|(row, terms)| terms[one] * of(row)).sum()
            };
            let mut equation: Vec<f64> = (0..size)
                .map(|other| product(&|row| rows[row][other]))
                .collect();
            equation.push(product(&|row| values[row]));
            equation
        })
        .collect();
    for column in 0..size {
        let largest = (column..size).max_by(|a, b| {
            let (a, b) = (equations[*a][column].abs(), equations[*b][column].abs());
            a.total_cmp(&b)
        });
        equations.swap(column, largest.unwrap_or(column));
        let pivot = equations[column].clone();
        for (row, equation) in equations.iter_mut().enumerate() {
            if row != column && pivot[column] != 0.0 {
                let by = equation[column] / pivot[column];
                equation
                    .iter_mut()
                    .zip(&pivot)
                    .for_each(|(value, of)| *value -= by * of);
            }
        }
    }
    let factor = |(row, equation): (usize, &Vec<f64>)| match equation[row] {
        0.0 => 0.0,
        of => equation[size] / of,
    };
    equations.iter().enumerate().map(factor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn least_squares_find_the_factors_of_a_sum() {
        let rows: Vec<Vec<f64>> = [(1.0, 5.0), (2.0, 1.0), (4.0, 8.0)]
            .map(|(a, b)| vec![1.0, a, b])
            .into();
        let values: Vec<f64> = rows
            .iter()
            .map(|row| 3.0 + 2.0 * row[1] - 0.5 * row[2])
            .collect();
        let factors = least_squares(&rows, &values);
        for (factor, expected) in factors.into_iter().zip([3.0, 2.0, -0.5]) {
            assert!((factor - expected).abs() < 1e-9, "{factor}");
        }
        assert_eq!(least_squares(&[vec![0.0]], &[0.0]), [0.0]);
    }
}
