//! How long Kafka's refusals are taken for passing. A broker that restarts, or has not caught up with the metadata, says of
//! topics that exist that they do not, and of clients that may read them that they may not. So whoever was answered once
//! believes a refusal only when it has lasted.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use stitch_common::clock::Moment;
use stitch_common::ports::LogError;
use stitch_common::user_error::UserError;

/// How long a refusal has to last, in one that was answered before, until it is final. Tests of clients wait for it.
pub(super) const LASTING: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 60 });

/// What was answered to each question of one client.
#[derive(Debug, Default)]
pub(super) struct Patience {
    questions: Mutex<BTreeMap<&'static str, Answers>>,
}

#[derive(Debug, Default)]
struct Answers {
    answered: bool,
    refused_since: Option<Moment>,
}

impl Answers {
    /// Whether what is refused now has been refused for long enough.
    fn lasts(&mut self, now: Moment) -> bool {
        now.since(*self.refused_since.get_or_insert(now)) >= LASTING
    }
}

impl Patience {
    /// The result as the caller hears it: after a first answer to `question`, a refusal that has not lasted is
    /// [`LogError::Unavailable`].
    pub(super) fn judge<T>(
        &self,
        question: &'static str,
        result: Result<T, LogError>,
        now: Moment,
    ) -> Result<T, LogError> {
        let mut questions = self
            .questions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let answers = questions.entry(question).or_default();
        match result {
            Ok(answer) => {
                *answers = Answers {
                    answered: true,
                    refused_since: None,
                };
                Ok(answer)
            }
            Err(LogError::Refused(message)) if answers.answered && !answers.lasts(now) => {
                Err(LogError::Unavailable(message))
            }
            Err(LogError::Denied(UserError { message, .. }))
                if answers.answered && !answers.lasts(now) =>
            {
                Err(LogError::Unavailable(message))
            }
            Err(error) => Err(error),
        }
    }

    /// Takes `question` for one that was answered.
    pub(super) fn answered(self, question: &'static str) -> Self {
        let mut questions = self
            .questions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        questions.entry(question).or_default().answered = true;
        drop(questions);
        self
    }

    /// Whether any question was ever answered.
    pub(super) fn was_answered(&self) -> bool {
        let questions = self
            .questions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        questions.values().any(|answers| answers.answered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stitch_common::clock::{Clock, SystemClock};

    fn refused() -> Result<(), LogError> {
        Err(LogError::Refused("no such topic".to_owned()))
    }

    fn is_final(result: &Result<(), LogError>) -> bool {
        matches!(result, Err(LogError::Refused(_)))
    }

    #[test]
    fn the_first_refusal_of_a_question_that_was_never_answered_is_final() {
        let now = SystemClock.now();
        let patience = Patience::default();
        assert_eq!(patience.judge("another", Ok(()), now), Ok(()));
        assert!(is_final(&patience.judge("one", refused(), now)));
    }

    #[test]
    fn a_refusal_of_a_question_that_was_answered_is_final_once_it_has_lasted() {
        let start = SystemClock.now();
        let patience = Patience::default();
        assert_eq!(patience.judge("one", Ok(()), start), Ok(()));
        let first = start.plus(Duration::from_secs(5));
        let almost = first.plus(LASTING - Duration::from_millis(1));
        for now in [first, almost] {
            let passing = patience.judge("one", refused(), now);
            assert!(
                matches!(passing, Err(LogError::Unavailable(_))),
                "{passing:?}"
            );
        }
        assert!(is_final(&patience.judge(
            "one",
            refused(),
            first.plus(LASTING)
        )));
    }

    #[test]
    fn a_right_that_is_missing_is_believed_as_late() {
        let start = SystemClock.now();
        let patience = Patience::default().answered("one");
        let denied = || Err::<(), _>(LogError::Denied(UserError::new("no", "ask")));
        let passing = patience.judge("one", denied(), start);
        assert_eq!(passing, Err(LogError::Unavailable("no".to_owned())));
        let lasting = patience.judge("one", denied(), start.plus(LASTING));
        assert_eq!(lasting, denied());
        assert_eq!(patience.judge("another", denied(), start), denied());
    }

    #[test]
    fn an_answer_ends_what_was_refused_before() {
        let start = SystemClock.now();
        let patience = Patience::default().answered("one");
        let later = |parts| start.plus(LASTING / 2 * parts);
        assert!(!is_final(&patience.judge("one", refused(), start)));
        assert_eq!(patience.judge("one", Ok(()), later(1)), Ok(()));
        assert!(!is_final(&patience.judge("one", refused(), later(3))));
    }
}
