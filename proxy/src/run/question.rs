//! A question to the VM that those share who have it at the same time.
//!
//! Invariant: nobody gets an answer to what was asked before he came.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Mutex;

use super::RunError;

pub(super) struct Question<T> {
    /// How many times it was asked.
    asked: AtomicU64,
    waiting: AtomicUsize,
    /// The number of the last time, and its answer, kept while somebody waits for it.
    answer: Mutex<Option<(u64, Result<T, RunError>)>>,
}

impl<T> Default for Question<T> {
    fn default() -> Question<T> {
        Question { asked: AtomicU64::new(0), waiting: AtomicUsize::new(0), answer: Mutex::new(None) }
    }
}

impl<T: Clone> Question<T> {
    /// The answer, as of after this call. `asking` is not begun where another's answer serves.
    pub(super) async fn ask(&self, asking: impl Future<Output = Result<T, RunError>>) -> Result<T, RunError> {
        let _waits = Waits::for_answer(self);
        let before = self.asked.load(Ordering::SeqCst);
        let mut answer = self.answer.lock().await;
        if let Some((number, told)) = &*answer
            && *number > before
        {
            return told.clone();
        }
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let told = asking.await;
        *answer = Some((number, told.clone()));
        told
    }
}

/// Somebody who waits for the answer; the last one clears it away.
struct Waits<'a, T>(&'a Question<T>);

impl<'a, T> Waits<'a, T> {
    fn for_answer(question: &'a Question<T>) -> Waits<'a, T> {
        question.waiting.fetch_add(1, Ordering::SeqCst);
        Waits(question)
    }
}

impl<T> Drop for Waits<'_, T> {
    fn drop(&mut self) {
        if self.0.waiting.fetch_sub(1, Ordering::SeqCst) == 1
            && let Ok(mut answer) = self.0.answer.try_lock()
        {
            // Whoever came meanwhile asks anew.
            *answer = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures::join;
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn those_who_come_while_it_is_asked_share_the_next_answer_and_nothing_is_kept() {
        let question = Question::default();
        let (asked, go_on) = (Cell::new(0), Notify::new());
        let asking = async || {
            asked.set(asked.get() + 1);
            let number = asked.get();
            go_on.notified().await;
            Ok(number)
        };
        let first = question.ask(asking());
        let others = async {
            // By now the first is asking, so that its answer is none for these.
            let answers = futures::future::join_all((0..50).map(|_| question.ask(asking())));
            let release = async {
                go_on.notify_one();
                tokio::task::yield_now().await;
                go_on.notify_one();
            };
            join!(answers, release).0
        };
        let (first, others) = join!(first, others);
        assert_eq!(first.unwrap(), 1);
        assert!(others.into_iter().all(|answer| answer.unwrap() == 2));
        assert_eq!(asked.get(), 2);
        assert!(question.answer.lock().await.is_none());
    }

    #[tokio::test]
    async fn whoever_asks_and_goes_away_leaves_the_asking_to_the_next() {
        let question = Question::default();
        let gone = tokio::time::timeout(std::time::Duration::ZERO, question.ask(std::future::pending())).await;
        assert!(gone.is_err());
        assert_eq!(question.ask(async { Ok(7) }).await.unwrap(), 7);
    }
}
