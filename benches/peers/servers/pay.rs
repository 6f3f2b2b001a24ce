//! The part all buyers here share: pays on request, so often and so many at once.

use std::future::Future;
use std::io::BufRead;

use tokio::task::JoinSet;

/// The key that pays. It has nothing anywhere.
pub const KEY: [u8; 32] = [7; 32];

/// Reads lines of `PAYMENTS AT_ONCE` until standard input ends, pays, and prints a line for each.
pub async fn on_command<F, Done>(pay: F)
where
    F: Fn() -> Done + Clone + Send + 'static,
    Done: Future<Output = ()> + Send,
{
    println!("ready");
    loop {
        let mut line = String::new();
        if std::io::stdin().lock().read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let mut numbers = line.split_whitespace().map(|number| number.parse().expect("a number"));
        let (payments, at_once): (usize, usize) =
            (numbers.next().expect("payments"), numbers.next().expect("at once"));
        let mut tasks = JoinSet::new();
        for task in 0..at_once {
            let pay = pay.clone();
            let share = payments / at_once + usize::from(task < payments % at_once);
            tasks.spawn(async move {
                for _ in 0..share {
                    pay().await;
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.expect("every payment is taken");
        }
        println!("done");
    }
}
