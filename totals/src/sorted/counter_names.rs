//! The names of counters as small numbers, which are ordered as the table's scan orders the names.

use stitch_common::cell::CounterName;
use stitch_common::definition::Definitions;

/// The position of a counter's name among the names of the definitions, in the order of the scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NameRank(pub u16);

/// The names of the counters of some definitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterNames {
    /// By rank.
    names: Vec<CounterName>,
    /// Of each definition.
    ranks: Vec<NameRank>,
}

impl CounterNames {
    /// The names in `definitions`.
    ///
    /// # Panics
    /// If there are more than 65,536: nobody writes as many into a configuration.
    pub fn new(definitions: &Definitions) -> Self {
        let mut names: Vec<CounterName> = definitions
            .counters
            .iter()
            .map(|counter| counter.name.clone())
            .collect();
        // A composite partition key is ordered by the length of its first part, then by its bytes.
        names.sort_by(|a, b| (a.0.len(), &a.0).cmp(&(b.0.len(), &b.0)));
        let mut this = Self {
            names,
            ranks: Vec::new(),
        };
        let ranks = definitions.counters.iter().map(|counter| {
            this.rank(&counter.name.0)
                .expect("it is one of these names")
        });
        this.ranks = ranks.collect();
        this
    }

    /// The rank of the definition at this position.
    pub fn rank_of_definition(&self, definition: usize) -> NameRank {
        self.ranks[definition]
    }

    /// The rank of `name`, if it is one of these names.
    pub fn rank(&self, name: &str) -> Option<NameRank> {
        let position = self.names.iter().position(|known| *known.0 == *name)?;
        Some(NameRank(
            u16::try_from(position).expect("a configuration has few counters"),
        ))
    }

    /// The name of this rank.
    ///
    /// # Panics
    /// If the rank comes from other names.
    pub fn name(&self, rank: NameRank) -> &CounterName {
        &self.names[usize::from(rank.0)]
    }

    /// The names, by rank.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &CounterName> {
        self.names.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan_key::in_scan_order;
    use proptest::prelude::*;
    use stitch_common::cell::Counter;
    use stitch_common::token::Token;
    use stitch_testkit::samples;

    fn names(of: &[String]) -> CounterNames {
        let mut definitions = samples::definitions();
        let sample = definitions.counters[0].clone();
        let counters = of.iter().map(|name| {
            let mut counter = sample.clone();
            counter.name = CounterName(name.as_str().into());
            counter
        });
        definitions.counters = counters.collect();
        CounterNames::new(&definitions)
    }

    proptest! {
        #[test]
        fn ranks_are_ordered_as_the_scan_orders_the_names(
            of in proptest::collection::btree_set("[ab]{1,3}", 1..8)
        ) {
            let of: Vec<String> = of.into_iter().collect();
            let names = names(&of);
            let token = Token(0);
            for (a_at, a) in of.iter().enumerate() {
                prop_assert_eq!(&*names.name(names.rank_of_definition(a_at)).0, a.as_str());
                for (b_at, b) in of.iter().enumerate() {
                    let ranks = names.rank_of_definition(a_at).cmp(&names.rank_of_definition(b_at));
                    let (a, b) = (Counter::new(a.as_str(), "k"), Counter::new(b.as_str(), "k"));
                    prop_assert_eq!(ranks, in_scan_order(token, &a, token, &b));
                }
            }
        }
    }

    #[test]
    fn a_name_of_no_definition_has_no_rank() {
        assert_eq!(names(&["a".to_owned()]).rank("b"), None);
    }
}
