//! One deadline for a whole check. A server isn't blamed when this process itself was late.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant as StdInstant};

use tokio::time::{Instant, timeout_at};

use crate::verdict::{Reason, ReasonKind, Verdict};

/// How many times within its timeout a waiting check looks whether the process is running. A stop
/// of less than two shares goes unnoticed, and costs the server at most a quarter of the timeout.
const SHARES: u32 = 8;

/// The resolution of tokio's timers.
const FINEST: Duration = Duration::from_millis(1);

/// Longer timeouts count as this one, which is ten years: no clock gets further than it can count.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Ends `check` when `timeout` has passed since it started, for the reason that `late` gives.
///
/// Checks with the same `epoch` and timeout look at the same moments, so one wake-up serves them all.
///
/// If this process didn't run for a while (it was stopped, or its machine was paused), a missing
/// reply, an unfinished command or an abandoned connection says nothing about the server.
pub(super) async fn within(
    timeout: Duration,
    started: StdInstant,
    epoch: StdInstant,
    late: impl FnOnce() -> Reason,
    mut check: Pin<&mut impl Future<Output = Verdict>>,
) -> Verdict {
    let timeout = timeout.min(LONGEST);
    let [started, epoch] = [started, epoch].map(Instant::from_std);
    let deadline = started + timeout;
    let share = (timeout / SHARES).max(FINEST);
    let mut seen = started;
    let mut stalled = false;
    let verdict = loop {
        let next = deadline.min(seen + share - past(seen - epoch, share));
        // The check is polled first: whatever arrived by the deadline counts, however late we see
        // it.
        let ended = timeout_at(next, check.as_mut()).await.ok();
        let now = Instant::now();
        stalled |= now - seen > share * 2;
        seen = now;
        match ended {
            Some(verdict) => break verdict,
            None if now >= deadline => break Verdict::Down(late()),
            None => {}
        }
    };
    match verdict {
        Verdict::Down(reason)
            if stalled && matches!(reason.kind(), ReasonKind::Timeout | ReasonKind::Closed) =>
        {
            let text = format!("this process did not run for a while; {}", reason.text());
            Verdict::Inconclusive(Reason::new(ReasonKind::Stalled, reason.stage(), text))
        }
        verdict => verdict,
    }
}

/// How much of a share has passed after `time`.
fn past(time: Duration, share: Duration) -> Duration {
    // Both are less than 584 years. 128 bits would be divided by a function of their own.
    let nanos = |it: Duration| u64::try_from(it.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(nanos(time) % nanos(share).max(1))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::{pending, poll_fn, ready};
    use std::pin::pin;
    use std::task::Poll;

    use tokio::time::{advance, sleep};

    use super::*;
    use crate::verdict::Stage;

    const TIMEOUT: Duration = Duration::from_secs(3);

    /// The outcome of a check on a clock that moves only when every task is waiting.
    fn outcome<F: Future<Output = Verdict>>(check: impl FnOnce() -> F) -> (Verdict, Duration) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let started = Instant::now();
            let late = || Stage::Reply.timed_out(TIMEOUT);
            let epoch = (started - TIMEOUT / 3).into_std();
            let check = pin!(check());
            let verdict = within(TIMEOUT, started.into_std(), epoch, late, check).await;
            (verdict, started.elapsed())
        })
    }

    fn closed() -> Verdict {
        Verdict::down(ReasonKind::Closed, Stage::Reply, "connection reset")
    }

    #[test]
    fn who_says_nothing_is_down_at_the_deadline() {
        let (verdict, took) = outcome(pending);
        assert_eq!(verdict, Verdict::Down(Stage::Reply.timed_out(TIMEOUT)));
        assert!(took >= TIMEOUT && took < TIMEOUT + Duration::from_millis(10), "{took:?}");
    }

    #[test]
    fn an_answer_is_an_answer_whenever_it_is_looked_at() {
        let (verdict, _) = outcome(|| async {
            sleep(TIMEOUT / 2).await;
            Verdict::Up
        });
        assert_eq!(verdict, Verdict::Up);
        // The reply was already there when this process ran again.
        let (verdict, _) = outcome(|| async {
            advance(TIMEOUT * 20).await;
            Verdict::Up
        });
        assert_eq!(verdict, Verdict::Up);
    }

    #[test]
    fn no_timeout_is_too_long() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let check = pin!(ready(Verdict::Up));
        let late = || Stage::Reply.timed_out(Duration::MAX);
        let now = StdInstant::now();
        let verdict = runtime.block_on(within(Duration::MAX, now, now, late, check));
        assert_eq!(verdict, Verdict::Up);
    }

    /// Otherwise a thousand hanging servers would wake this process thousands of times a second.
    #[test]
    fn checks_that_started_apart_look_at_the_same_moments() {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        let epoch = runtime.block_on(async { Instant::now() });
        let looks = |apart: u64| {
            let looks = RefCell::new(Vec::new());
            runtime.block_on(async {
                sleep(Duration::from_millis(apart)).await;
                let started = Instant::now();
                let late = || Stage::Reply.timed_out(TIMEOUT);
                // It's polled whenever its watch looks.
                let check = pin!(poll_fn(|_| {
                    looks.borrow_mut().push((Instant::now() - epoch).as_millis());
                    Poll::Pending
                }));
                within(TIMEOUT, started.into_std(), epoch.into_std(), late, check).await
            });
            let share = (TIMEOUT / SHARES).as_millis();
            // The first is the start, the last the deadline.
            let looks = looks.into_inner();
            looks[1..looks.len() - 1].iter().map(|at| at % share).collect::<Vec<_>>()
        };
        for apart in [0, 7, 100, 374] {
            let looks = looks(apart);
            assert!(looks.len() >= 7, "{looks:?}");
            // Timers are a millisecond late at most.
            assert!(looks.iter().all(|past| *past <= 1), "{apart}: {looks:?}");
        }
    }

    #[test]
    fn a_server_does_not_pay_for_this_process_being_stopped() {
        for stop in [TIMEOUT / 2, TIMEOUT * 20] {
            let (verdict, _) = outcome(|| async move {
                advance(stop).await;
                pending().await
            });
            assert_eq!(verdict.reason().map(Reason::kind), Some(ReasonKind::Stalled), "{stop:?}");
            assert!(matches!(verdict, Verdict::Inconclusive(_)), "{verdict}");
            let (verdict, _) = outcome(|| async move {
                advance(stop).await;
                closed()
            });
            assert!(matches!(verdict, Verdict::Inconclusive(_)), "{verdict}");
        }
        // What the server itself has said counts.
        let refused = Verdict::down(ReasonKind::Refused, Stage::Connect, "connection refused");
        let said = refused.clone();
        let (verdict, _) = outcome(|| async move {
            advance(TIMEOUT / 2).await;
            said
        });
        assert_eq!(verdict, refused);
        let (verdict, _) = outcome(|| async { closed() });
        assert_eq!(verdict, closed());
    }
}
