//! A buyer never spends more than it may: whoever asks at the same time, and whatever is killed.
#![allow(missing_docs)]
#![cfg(unix)]

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{env, fs, thread};

use common::{NETWORK, SELLER, usdc, wallet};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use x402_core::buyer::Decline;
use x402_core::{Amount, Money, Reason, Version};
use x402_std::buyer::budget::{
    Budget, BudgetError, Limit, MemoryBudget, Purchase, Reserved, SqliteBudget, State, Step, usage,
};
use x402_std::buyer::{Ask, BuyError, Buyer, Policy, Progress, PurchaseOptions};
use x402_std::message::{PaymentPayload, PaymentRequired, PaymentRequirements, SettleResponse};
use x402_std::seller::exact;
use x402_std::store::OpenError;
use x402_std::transport::{Answer, ChallengeError, PaymentText, Subject, Transport};

const NOW: u64 = 1_800_000_000;
const DAY: u64 = 86_400;

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("x402-budget-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn budget(&self) -> SqliteBudget {
        SqliteBudget::open(self.file()).unwrap()
    }

    fn file(&self) -> PathBuf {
        self.0.join("budget.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn limits(texts: &[&str]) -> Vec<Limit> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn offer(units: u64) -> PaymentRequirements {
    let offer = exact(NETWORK, SELLER, "$0.01").unwrap();
    PaymentRequirements { amount: units.into(), ..offer }
}

fn purchase(id: &str, at: u64, host: &str, units: u64) -> Purchase {
    Purchase {
        id: id.into(),
        at,
        host: host.into(),
        what: format!("GET https://{host}/"),
        digest: [7; 32],
        offer: offer(units),
        decimals: 6,
        payment: None,
        state: State::Reserved,
    }
}

fn payment() -> PaymentText {
    PaymentText { version: Version::V2, json: r#"{"a":"secret"}"#.into() }
}

fn receipt() -> Box<SettleResponse> {
    Box::new(SettleResponse {
        success: true,
        transaction: format!("0x{}", "12".repeat(32)),
        network: NETWORK.into(),
        ..SettleResponse::default()
    })
}

fn ids(purchases: &[Purchase]) -> Vec<&str> {
    purchases.iter().map(|purchase| purchase.id.as_str()).collect()
}

/// What any budget must do.
async fn keeps_its_word(budget: impl Budget) {
    let limits = limits(&["$0.000100 per payment", "$0.000200 per day", "$0.000150 each host"]);
    let reserve = |purchase| budget.reserve(purchase, &limits);
    let over = |limit| Err(BudgetError::Exceeded(limit));

    assert_eq!(reserve(purchase("a", NOW, "h", 101)).await, over(0));
    assert_eq!(budget.find("a").await, Ok(None));
    assert_eq!(reserve(purchase("a", NOW, "h", 100)).await, Ok(Reserved::New));
    assert_eq!(reserve(purchase("b", NOW, "H", 51)).await, over(2));
    assert_eq!(reserve(purchase("b", NOW, "H", 50)).await, Ok(Reserved::New));
    assert_eq!(reserve(purchase("c", NOW, "i", 51)).await, over(1));
    assert_eq!(reserve(purchase("c", NOW, "i", 50)).await, Ok(Reserved::New));
    assert_eq!(reserve(purchase("d", NOW, "i", 1)).await, over(1));

    // What was reserved and not signed is given back; under one id there is one purchase.
    let known = Box::new(purchase("c", NOW, "i", 50));
    assert_eq!(reserve(purchase("c", NOW, "x", 1)).await, Ok(Reserved::Known(known)));
    budget.write("c", Step::Released).await.unwrap();
    assert_eq!(budget.find("c").await, Ok(None));
    assert_eq!(reserve(purchase("c", NOW, "i", 50)).await, Ok(Reserved::New));

    // What was signed is not, whatever is said.
    budget.write("c", Step::Signed(payment())).await.unwrap();
    budget.write("c", Step::Released).await.unwrap();
    let found = budget.find("c").await.unwrap().unwrap();
    assert_eq!((&found.state, &found.payment), (&State::Signed, &Some(payment())));
    for (step, state, kept) in [
        (Step::Refused(None), State::Refused(None), true),
        (
            Step::Refused(Some(Reason::InsufficientFunds)),
            State::Unfunded(Reason::InsufficientFunds),
            true,
        ),
        (Step::Refused(Some(Reason::Busy)), State::Refused(Some(Reason::Busy)), true),
        (Step::Paid(receipt()), State::Paid(receipt()), false),
        (Step::Refused(None), State::Paid(receipt()), false),
        (Step::Released, State::Paid(receipt()), false),
    ] {
        budget.write("c", step).await.unwrap();
        let found = budget.find("c").await.unwrap().unwrap();
        assert_eq!((found.state, found.payment.is_some()), (state, kept));
        assert_eq!(reserve(purchase("d", NOW, "i", 1)).await, over(1));
    }
    let signed = Step::Signed(payment());
    for gone in ["c", "nobody"] {
        assert_eq!(budget.write(gone, signed.clone()).await, Err(BudgetError::Unavailable));
    }

    // A day later there is room for a day, and for ever is for ever.
    assert_eq!(reserve(purchase("d", NOW + DAY - 1, "i", 1)).await, over(1));
    assert_eq!(reserve(purchase("d", NOW + DAY, "h", 1)).await, over(2));
    assert_eq!(reserve(purchase("d", NOW + DAY, "i", 100)).await, Ok(Reserved::New));
    assert_eq!(reserve(purchase("e", NOW + 3 * DAY, "i", 1)).await, over(2));
    assert_eq!(reserve(purchase("e", NOW + 3 * DAY, "j", 100)).await, Ok(Reserved::New));
    assert_eq!(ids(&budget.history(3).await.unwrap()), ["e", "d", "c"]);
    assert_eq!(ids(&budget.history(9).await.unwrap()), ["e", "d", "c", "b", "a"]);

    let spends = budget.spends(NOW + 3 * DAY).await.unwrap();
    let used = usage(&limits, &spends, NOW + 3 * DAY);
    let used: Vec<_> = used
        .iter()
        .map(|it| format!("{}: {:?} {} {}", it.limit, it.of, it.spent, it.left))
        .collect();
    let zeros = "0".repeat(12);
    let line = |text: &str| text.replace('#', &zeros);
    assert_eq!(
        used,
        [
            line("$0.000100 per payment: None 0 100#"),
            line("$0.000200 per day: None 100# 100#"),
            line(r#"$0.000150 each host: Some("h") 150# 0"#),
            line(r#"$0.000150 each host: Some("i") 150# 0"#),
            line(r#"$0.000150 each host: Some("j") 100# 50#"#),
        ],
    );
}

#[tokio::test]
async fn every_budget_keeps_its_word() {
    keeps_its_word(MemoryBudget::new()).await;
    let folder = Folder::new();
    keeps_its_word(Arc::new(folder.budget())).await;
    // Somebody else reads the same in it.
    assert_eq!(ids(&folder.budget().history(2).await.unwrap()), ["e", "d"]);
    assert_eq!(fs::metadata(folder.file()).unwrap().permissions().mode() & 0o777, 0o600);
}

/// Three payments a day that were refused for an empty wallet stop counting once they have expired; sellers
/// who lie gain no more by it.
async fn forgets_what_expired_unpaid(budget: impl Budget) {
    let limits = limits(&["$0.000100 per day", "$0.000500"]);
    let life = purchase("a", NOW, "h", 1).offer.max_timeout_seconds + 120;
    let left = async |now| {
        let used = usage(&limits, &budget.spends(now).await.unwrap(), now);
        let left: Vec<_> = used.iter().map(|it| it.left.to_string()).collect();
        left
    };
    let units = |count: u64| (count * 1_000_000_000_000).to_string();
    for (at, id) in (NOW..).zip(["a", "b", "c", "d"]) {
        let reserved = budget.reserve(purchase(id, at, "h", 10), &limits).await;
        assert_eq!(reserved, Ok(Reserved::New));
        budget.write(id, Step::Signed(payment())).await.unwrap();
        let poor = Reason::InvalidExactEvmInsufficientBalance;
        // Said twice, it is one.
        budget.write(id, Step::Refused(Some(poor))).await.unwrap();
        budget.write(id, Step::Refused(Some(poor))).await.unwrap();
        let state = budget.find(id).await.unwrap().unwrap().state;
        assert_eq!(state == State::Unfunded(poor), id != "d", "{id}");
    }
    assert_eq!(left(NOW + life).await, [units(60), units(460)]);
    assert_eq!(left(NOW + 3 + life).await, [units(90), units(490)]);
    let next = async |at, id, units| budget.reserve(purchase(id, at, "h", units), &limits).await;
    assert_eq!(next(NOW + life, "e", 71).await, Err(BudgetError::Exceeded(0)));
    assert_eq!(next(NOW + 3 + life, "e", 91).await, Err(BudgetError::Exceeded(0)));
    assert_eq!(next(NOW + 3 + life, "e", 90).await, Ok(Reserved::New));
    // What is more than a day old is added up without them.
    assert_eq!(next(NOW + 3 * DAY, "f", 100).await, Ok(Reserved::New));
    assert_eq!(left(NOW + 3 * DAY).await, [units(0), units(300)]);
    // One that was made after all counts.
    assert_eq!(next(NOW + 5 * DAY, "g", 50).await, Ok(Reserved::New));
    budget.write("g", Step::Refused(Some(Reason::InsufficientFunds))).await.unwrap();
    budget.write("g", Step::Paid(receipt())).await.unwrap();
    assert_eq!(left(NOW + 5 * DAY + life + 1).await, [units(50), units(250)]);
}

#[tokio::test]
async fn every_budget_forgets_what_expired_unpaid() {
    forgets_what_expired_unpaid(MemoryBudget::new()).await;
    let folder = Folder::new();
    forgets_what_expired_unpaid(folder.budget()).await;
}

/// More purchases than are told apart, over some days: not a unit is lost.
async fn adds_up(budget: impl Budget) {
    let limits = limits(&[
        "1500 of base-sepolia/0x036CbD53842c5426634e7929541eC2318f3dCF7e host a",
        "$0.000900 per day",
    ]);
    let mut at = NOW;
    for number in 0..1500 {
        at += 300; // 288 a day
        let made = budget.reserve(purchase(&number.to_string(), at, "A", 1), &limits).await;
        assert_eq!(made, Ok(Reserved::New), "{number}");
    }
    let next = |units| budget.reserve(purchase("next", at, "b", units), &limits);
    assert_eq!(
        budget.reserve(purchase("more", at, "a", 1), &limits).await,
        Err(BudgetError::Exceeded(0))
    );
    // 288 of the last day, not the one of exactly a day ago.
    assert_eq!(next(900 - 288 + 1).await, Err(BudgetError::Exceeded(1)));
    assert_eq!(next(900 - 288).await, Ok(Reserved::New));
    let sum = budget
        .spends(at)
        .await
        .unwrap()
        .iter()
        .try_fold(Amount::ZERO, |sum, spent| sum.checked_add(spent.spend.amount));
    assert_eq!(sum, Some(Amount::from(1500 + 612)));
}

#[tokio::test]
async fn what_is_added_up_counts_to_the_unit() {
    adds_up(MemoryBudget::new()).await;
    adds_up(Folder::new().budget()).await;
}

#[test]
fn other_files_are_left_alone() {
    let folder = Folder::new();
    fs::write(folder.file(), "something else, and long enough to be looked at").unwrap();
    assert!(matches!(SqliteBudget::open(folder.file()), Err(OpenError::Foreign)));
    let claims = folder.0.join("claims.db");
    x402_std::store::SqliteStore::open(&claims).unwrap();
    assert!(matches!(SqliteBudget::open(&claims), Err(OpenError::Foreign)));
}

// ---- at the same time

const CHILD: &str = "X402_BUDGET_CHILD";

/// This test, as another process that reserves one unit after another and says which.
fn spawn_child(path: &Path, test: &str, order: &str) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, format!("{order} {}", path.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Whether this is the child; if so it reserves in 100 tasks what the order's limit has room for.
fn child() -> bool {
    let Ok(order) = env::var(CHILD) else { return false };
    let (name, rest) = order.split_once(' ').unwrap();
    let (most, path) = rest.split_once(' ').unwrap();
    let limits = limits(&[&format!("{most} of {NETWORK}/{}", usdc())]);
    let budget = Arc::new(SqliteBudget::open(path).unwrap());
    Runtime::new().unwrap().block_on(async {
        let mut tasks = JoinSet::new();
        for task in 0..100 {
            let (budget, limits, name) = (budget.clone(), limits.clone(), name.to_owned());
            tasks.spawn(async move {
                for number in 0.. {
                    let id = format!("{name}-{task}-{number}");
                    match budget.reserve(purchase(&id, NOW, "h", 1), &limits).await {
                        Ok(_) => {}
                        Err(BudgetError::Exceeded(0)) => return,
                        Err(error) => panic!("{error}"),
                    }
                    budget.write(&id, Step::Signed(payment())).await.unwrap();
                    let line = format!("signed {id} .\n");
                    let mut out = std::io::stdout().lock();
                    out.write_all(line.as_bytes()).unwrap();
                    out.flush().unwrap();
                }
            });
        }
        tasks.join_all().await;
    });
    true
}

fn signed(lines: impl Iterator<Item = std::io::Result<Vec<u8>>>) -> Vec<String> {
    let whole = |line: std::io::Result<Vec<u8>>| {
        let line = String::from_utf8_lossy(&line.unwrap()).into_owned();
        // The last line may have been cut off.
        // And before the first is the test's name.
        Some(line.split_once("signed ")?.1.strip_suffix(" .")?.to_owned())
    };
    lines.filter_map(whole).collect()
}

#[test]
fn two_processes_with_two_hundred_tasks_spend_all_and_not_a_unit_more() {
    if child() {
        return;
    }
    const MOST: usize = 1_000;
    let folder = Folder::new();
    let name = "two_processes_with_two_hundred_tasks_spend_all_and_not_a_unit_more";
    let children: Vec<_> = ["x", "y"]
        .map(|child| spawn_child(&folder.file(), name, &format!("{child} {MOST}")))
        .into_iter()
        .map(|mut child| {
            thread::spawn(move || {
                let made = signed(BufReader::new(child.stdout.take().unwrap()).split(b'\n'));
                assert!(child.wait().unwrap().success());
                made
            })
        })
        .collect();
    let made: Vec<_> = children.into_iter().map(|child| child.join().unwrap()).collect();
    assert_eq!(made.iter().map(Vec::len).sum::<usize>(), MOST);
    assert!(made.iter().all(|made| !made.is_empty()), "one did it all");
    let history = Runtime::new().unwrap().block_on(folder.budget().history(usize::MAX)).unwrap();
    assert_eq!(history.len(), MOST);
}

fn dice(sides: u64) -> u64 {
    let mut bytes = [0; 8];
    fs::File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    u64::from_be_bytes(bytes) % sides
}

#[test]
fn what_a_killed_process_signed_counts() {
    if child() {
        return;
    }
    let folder = Folder::new();
    let name = "what_a_killed_process_signed_counts";
    let mut all = BTreeSet::new();
    for round in 0..6 {
        let mut child = spawn_child(&folder.file(), name, &format!("r{round} 1000000"));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).split(b'\n');
        for _ in 0..1 + dice(200) {
            all.extend(signed(lines.next().into_iter()));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        all.extend(signed(lines));
        let history = Runtime::new().unwrap().block_on(folder.budget().history(usize::MAX));
        let history = history.unwrap();
        let counted: BTreeSet<_> = history
            .iter()
            .filter(|it| it.state == State::Signed && it.payment == Some(payment()))
            .map(|it| it.id.clone())
            .collect();
        assert!(all.is_subset(&counted), "round {round}");
        // And its room is gone.
        let taken = history.len();
        let just = limits(&[&format!("{taken} of {NETWORK}/{}", usdc())]);
        let next = folder.budget();
        let refused =
            Runtime::new().unwrap().block_on(next.reserve(purchase("next", NOW, "h", 1), &just));
        assert_eq!(refused, Err(BudgetError::Exceeded(0)));
    }
    assert!(all.len() > 6);
}

/// A clock that goes ahead and is set right again makes no room: not with what is added up meanwhile.
async fn keeps_its_word_whatever_the_clock(budget: impl Budget, name: &str) {
    let limits = limits(&["$0.000100 per day", "$0.000060 per day each host"]);
    let reserve = |id: &'static str, at, host: &'static str, units| {
        budget.reserve(purchase(id, at, host, units), &limits)
    };
    let over = |limit| Err(BudgetError::Exceeded(limit));
    assert_eq!(reserve("a", NOW, "h", 50).await, Ok(Reserved::New), "{name}");
    assert_eq!(reserve("b", NOW + 1, "i", 40).await, Ok(Reserved::New), "{name}");
    assert_eq!(reserve("c", NOW + 2, "j", 11).await, over(0), "{name}");
    // Two days ahead, and once more, so that what was added up is added up again.
    assert_eq!(reserve("d", NOW + 2 * DAY, "h", 5).await, Ok(Reserved::New), "{name}");
    assert_eq!(reserve("e", NOW + 4 * DAY, "h", 1).await, Ok(Reserved::New), "{name}");
    for back in [NOW + 3, NOW + DAY - 1, NOW] {
        assert_eq!(reserve("f", back, "j", 5).await, over(0), "{name} at {back}");
        assert_eq!(reserve("f", back, "h", 5).await, over(0), "{name} at {back}");
    }
    // What is left is left.
    assert_eq!(reserve("g", NOW + 4, "k", 4).await, Ok(Reserved::New), "{name}");
    assert_eq!(reserve("h", NOW + 5, "k", 1).await, over(0), "{name}");
    // And in time, all is.
    assert_eq!(reserve("i", NOW + 5 * DAY, "h", 60).await, Ok(Reserved::New), "{name}");
}

#[tokio::test]
async fn a_clock_that_was_ahead_makes_no_room() {
    keeps_its_word_whatever_the_clock(MemoryBudget::new(), "memory").await;
    let folder = Folder::new();
    keeps_its_word_whatever_the_clock(folder.budget(), "sqlite").await;
}

/// A row that cannot be read hides no other, is not bought again, and makes no room.
#[tokio::test]
async fn a_row_that_cannot_be_read_hides_no_other_and_makes_no_room() {
    let limits = limits(&["$0.000100 per day"]);
    for (broken, spends_are_read) in [
        ("offer = '?'", true),
        ("state = 'lost'", true),
        ("digest = x'00'", true),
        ("state = 'paid', receipt = '{'", true),
        ("network = ''", false),
        ("amount = '1e1'", false),
        ("at = -1", false),
    ] {
        let folder = Folder::new();
        let budget = folder.budget();
        for id in ["a", "b", "c"] {
            assert_eq!(
                budget.reserve(purchase(id, NOW, "h", 30), &limits).await,
                Ok(Reserved::New)
            );
        }
        let db = rusqlite::Connection::open(folder.file()).unwrap();
        db.execute(&format!("UPDATE purchases SET {broken} WHERE id = 'b'"), []).unwrap();
        drop(db);
        let history = budget.history(2).await.unwrap();
        if spends_are_read || broken.starts_with("at") {
            assert_eq!(ids(&history), ["c", "a"], "{broken}");
            assert_eq!(budget.find("b").await, Err(BudgetError::Unavailable), "{broken}");
            let again = budget.reserve(purchase("b", NOW, "h", 1), &[]).await;
            assert_eq!(again, Err(BudgetError::Unavailable), "{broken}");
        }
        assert!(budget.find("a").await.unwrap().is_some());
        let more = budget.reserve(purchase("d", NOW, "h", 11), &limits).await;
        let (over, unknown) = (BudgetError::Exceeded(0), BudgetError::Unavailable);
        assert_eq!(more, Err(if spends_are_read { over } else { unknown }), "{broken}");
        assert_eq!(budget.spends(NOW).await.is_ok(), spends_are_read, "{broken}");
    }
}

// ---- buying

/// A seller that answers what it is told to, and keeps the payments it is sent.
#[derive(Default)]
struct Shop {
    offers: Mutex<Vec<PaymentRequirements>>,
    /// How the next payments are answered; with a receipt when there is nothing left.
    answers: Mutex<Vec<Paid>>,
    payments: Mutex<Vec<String>>,
    asked: AtomicUsize,
}

#[derive(Clone, Copy)]
enum Paid {
    Lost,
    NoReceipt,
    Refused(&'static str),
    /// Another challenge, as if nothing had been paid.
    AskedAgain,
}

impl Shop {
    fn new(offers: impl IntoIterator<Item = PaymentRequirements>) -> Self {
        Self { offers: Mutex::new(offers.into_iter().collect()), ..Self::default() }
    }

    fn then(&self, answers: impl IntoIterator<Item = Paid>) {
        *self.answers.lock().unwrap() = answers.into_iter().collect();
    }

    fn challenge(&self, error: Option<&str>) -> Option<Result<PaymentRequired, ChallengeError>> {
        Some(Ok(PaymentRequired {
            x402_version: Version::V2,
            error: error.map(Into::into),
            resource: None,
            accepts: self.offers.lock().unwrap().clone().into(),
            extensions: None,
            other: None,
        }))
    }

    fn payments(&self) -> Vec<String> {
        self.payments.lock().unwrap().clone()
    }
}

impl Transport for Shop {
    type Request = String;
    type Response = ();
    type Error = &'static str;

    fn subject(&self, request: &String) -> Subject {
        let mut digest = [0; 32];
        digest[..request.len()].copy_from_slice(request.as_bytes());
        Subject { host: "shop.test".into(), what: request.clone(), digest }
    }

    async fn exchange(
        &self,
        _: &String,
        payment: Option<&PaymentText>,
    ) -> Result<Answer<()>, &'static str> {
        tokio::task::yield_now().await;
        let Some(payment) = payment else {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let challenge = self.challenge(None);
            return Ok(Answer { response: (), challenge, receipt: None });
        };
        self.payments.lock().unwrap().push(payment.json.clone());
        let mut answers = self.answers.lock().unwrap();
        let answer = (!answers.is_empty()).then(|| answers.remove(0));
        drop(answers);
        let (challenge, receipt) = match answer {
            None => (None, Some(*receipt())),
            Some(Paid::Lost) => return Err("lost"),
            Some(Paid::NoReceipt) => (None, None),
            Some(Paid::Refused(reason)) => (self.challenge(Some(reason)), None),
            Some(Paid::AskedAgain) => (self.challenge(None), None),
        };
        Ok(Answer { response: (), challenge, receipt })
    }
}

type TestBuyer =
    Buyer<x402_std::buyer::wallet::EvmWallet<x402_core::crypto::secp256k1::LocalKey>, u64>;

fn buyer(policy: Policy) -> TestBuyer {
    Buyer::with_parts(wallet(), policy, NOW)
}

fn limited(texts: &[&str]) -> Policy {
    Policy { limits: limits(texts), ..Policy::default() }
}

fn asked() -> String {
    "GET /".into()
}

#[tokio::test]
async fn an_id_is_paid_for_once() {
    let shop = Shop::new([offer(10)]);
    let buyer = buyer(limited(&["$0.000020"]));
    let order = PurchaseOptions { id: Some("one"), ..PurchaseOptions::default() };
    shop.then([Paid::Lost, Paid::NoReceipt, Paid::Refused("insufficient_funds"), Paid::AskedAgain]);
    let lost = buyer.buy_with(&shop, &asked(), &order).await;
    assert!(matches!(lost, Err(BuyError::Unclear { id, .. }) if id == "one"));
    let other = buyer.buy_with(&shop, &"GET /else".into(), &order).await;
    assert!(matches!(other, Err(BuyError::AnotherPurchase)));
    // Whatever becomes of it, it is the same payment.
    let unclear = buyer.buy_with(&shop, &asked(), &order).await.unwrap();
    assert_eq!((unclear.id.as_deref(), unclear.paid), (Some("one"), Some(offer(10))));
    for _ in 0..2 {
        let refused = buyer.buy_with(&shop, &asked(), &order).await;
        assert!(matches!(refused, Err(BuyError::Refused { .. })));
    }
    assert!(buyer.buy_with(&shop, &asked(), &order).await.unwrap().receipt.is_some());
    let again = buyer.buy_with(&shop, &asked(), &order).await;
    assert!(matches!(again, Err(BuyError::AlreadyBought(it)) if it == receipt()));
    let payments = shop.payments();
    assert_eq!((payments.len(), shop.asked.load(Ordering::Relaxed)), (5, 1));
    assert!(payments.iter().all(|payment| *payment == payments[0]));
    // It counted once; a purchase of another id is another payment.
    let other = PurchaseOptions { id: Some("two"), ..PurchaseOptions::default() };
    buyer.buy_with(&shop, &asked(), &other).await.unwrap();
    assert!(matches!(buyer.buy(&shop, &asked()).await, Err(BuyError::OverBudget(_))));
    assert_ne!(shop.payments().last(), Some(&payments[0]));
    let shown = format!("{:?} {:?}", buyer.budget(), buyer.budget().history(9).await);
    assert!(!shown.contains("signature"), "{shown}");
}

#[tokio::test]
async fn of_one_id_at_the_same_time_one_is_signed() {
    let shop = Arc::new(Shop::new([offer(10)]));
    let buyer = Arc::new(buyer(Policy::default()));
    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        let (shop, buyer) = (shop.clone(), buyer.clone());
        tasks.spawn(async move {
            let order = PurchaseOptions { id: Some("one"), ..PurchaseOptions::default() };
            match buyer.buy_with(&*shop, &asked(), &order).await {
                Ok(_) | Err(BuyError::AlreadyBought(_) | BuyError::Unfinished) => {}
                Err(other) => panic!("{other}"),
            }
        });
    }
    tasks.join_all().await;
    let payments: BTreeSet<_> = shop.payments().into_iter().collect();
    assert_eq!(payments.len(), 1);
    assert_eq!(buyer.budget().history(9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_payment_outlives_the_process_that_signed_it() {
    let folder = Folder::new();
    let shop = Shop::new([offer(10)]);
    shop.then([Paid::Lost]);
    let order = PurchaseOptions { id: Some("one"), ..PurchaseOptions::default() };
    let first = buyer(limited(&["$0.000010"])).with_budget(folder.budget());
    assert!(matches!(first.buy_with(&shop, &asked(), &order).await, Err(BuyError::Unclear { .. })));
    drop(first);
    let second = buyer(limited(&["$0.000010"])).with_budget(folder.budget());
    assert!(matches!(second.buy(&shop, &asked()).await, Err(BuyError::OverBudget(_))));
    second.buy_with(&shop, &asked(), &order).await.unwrap();
    let payments = shop.payments();
    assert_eq!((payments.len(), &payments[0]), (2, &payments[1]));
    let left = second.usage().await.unwrap();
    assert_eq!((left[0].left, left[0].decimals), (Amount::ZERO, 18));
    // Once there is a receipt the payment is nobody's business.
    let bytes = fs::read(folder.file()).unwrap();
    drop(second);
    let found = folder.budget().find("one").await.unwrap().unwrap();
    assert_eq!((found.payment, found.state), (None, State::Paid(receipt())));
    assert!(!bytes.is_empty());
}

#[tokio::test]
async fn what_cannot_be_signed_is_given_back_and_what_died_before_counts() {
    // No EVM key signs for Solana: the wallet says it pays, and fails.
    struct Fails;
    impl x402_core::buyer::Wallet for Fails {
        fn pays(&self, _: &x402_core::wire::PaymentRequirements<'_>) -> bool {
            true
        }
        fn decimals(&self, _: &x402_core::wire::PaymentRequirements<'_>) -> Option<u8> {
            Some(6)
        }
    }
    impl x402_std::buyer::wallet::PaymentSigner for Fails {
        async fn sign(
            &self,
            _: Option<&str>,
            _: &PaymentRequirements,
            _: u64,
            _: [u8; 32],
        ) -> Result<x402_std::message::Json, x402_std::buyer::wallet::SignFailure> {
            Err(x402_std::buyer::wallet::SignFailure::Offer(Reason::InvalidNetwork))
        }
    }
    let shop = Shop::new([offer(10)]);
    let buyer = Buyer::with_parts(Fails, limited(&["$0.000010"]), NOW);
    for _ in 0..3 {
        assert!(matches!(buyer.buy(&shop, &asked()).await, Err(BuyError::NotSigned(_))));
    }
    assert!(buyer.budget().history(9).await.unwrap().is_empty());
    // Reserved by somebody who is not there any more.
    let mut dead = purchase("dead", NOW, "shop.test", 10);
    dead.digest = shop.subject(&asked()).digest;
    buyer.budget().reserve(dead, &[]).await.unwrap();
    let order = PurchaseOptions { id: Some("dead"), ..PurchaseOptions::default() };
    assert!(matches!(buyer.buy_with(&shop, &asked(), &order).await, Err(BuyError::Unfinished)));
    assert!(matches!(buyer.buy(&shop, &asked()).await, Err(BuyError::OverBudget(_))));
    assert!(shop.payments().is_empty());
}

#[tokio::test]
async fn the_next_offer_is_taken_when_the_first_is_used_up() {
    let sei =
        PaymentRequirements { amount: 10.into(), ..exact("eip155:1328", SELLER, "$0.01").unwrap() };
    let shop = Shop::new([offer(10), sei.clone()]);
    let base = format!("10 of {NETWORK}/{}", usdc());
    let buyer = buyer(limited(&[&base, "$0.000025"]));
    assert_eq!(buyer.buy(&shop, &asked()).await.unwrap().paid, Some(offer(10)));
    assert_eq!(buyer.buy(&shop, &asked()).await.unwrap().paid, Some(sei));
    match buyer.buy(&shop, &asked()).await {
        Err(BuyError::OverBudget(limit)) => assert_eq!(limit.to_string(), base),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_was_quoted_is_paid_and_no_more() {
    let changed = |change: &dyn Fn(&mut PaymentRequirements)| {
        let mut offer = offer(10);
        change(&mut offer);
        offer
    };
    let cases = [
        (offer(10), true),
        (offer(9), true),
        (offer(11), false),
        (changed(&|it| it.pay_to = it.pay_to.to_lowercase()), true),
        (changed(&|it| it.pay_to = "0x00000000000000000000000000000000000000AA".into()), false),
        (changed(&|it| it.max_timeout_seconds = 60), true),
        (PaymentRequirements { amount: 10.into(), ..exact("sei", SELLER, "$1").unwrap() }, false),
    ];
    for (now, taken) in cases {
        let shop = Shop::new([now.clone()]);
        let order = PurchaseOptions { quoted: Some(&offer(10)), ..PurchaseOptions::default() };
        let bought = buyer(Policy::default()).buy_with(&shop, &asked(), &order).await;
        match bought {
            Ok(_) if taken => {}
            Err(BuyError::NotAsQuoted) if !taken => assert!(shop.payments().is_empty()),
            other => panic!("{now:?}: {other:?}"),
        }
    }
    let most = |text| PurchaseOptions {
        max: Some(Money::parse(text).unwrap()),
        ..PurchaseOptions::default()
    };
    let shop = Shop::new([offer(10)]);
    let buyer = buyer(Policy::default());
    let over = buyer.buy_with(&shop, &asked(), &most("$0.000009")).await;
    assert!(matches!(
        over,
        Err(BuyError::Declined(x402_std::buyer::Declined { reason: Decline::OverLimit, .. }))
    ));
    buyer.buy_with(&shop, &asked(), &most("$0.000010")).await.unwrap();
}

#[tokio::test]
async fn somebody_is_asked_above_the_threshold_and_hears_of_it() {
    let shop = Shop::new([offer(10)]);
    let policy =
        |above: &str| Policy { ask_above: Some(Money::parse(above).unwrap()), ..Policy::default() };
    let asks = AtomicU64::new(0);
    for (above, answer, asked_for, bought) in [
        ("$0.000010", None, 0, true),
        ("$0.000009", None, 0, false),
        ("$0.000009", Some(false), 10, false),
        ("$0.000009", Some(true), 10, true),
        ("$0", Some(true), 10, true),
    ] {
        asks.store(0, Ordering::Relaxed);
        let approve = |ask: Ask| {
            assert_eq!((ask.host.as_str(), ask.decimals), ("shop.test", 6));
            asks.store(ask.offer.amount.as_u64().unwrap(), Ordering::Relaxed);
            let answer = answer.unwrap();
            Box::pin(async move { answer }) as std::pin::Pin<Box<dyn Future<Output = bool> + Send>>
        };
        let order = PurchaseOptions {
            approve: answer.is_some().then_some(&approve),
            ..PurchaseOptions::default()
        };
        let outcome = buyer(policy(above)).buy_with(&shop, &asked(), &order).await;
        match outcome {
            Ok(_) if bought => {}
            Err(BuyError::NotApproved) if !bought => {}
            other => panic!("{above}: {other:?}"),
        }
        assert_eq!(asks.load(Ordering::Relaxed), asked_for);
    }
    // Nobody is asked for what cannot be paid.
    let approve =
        |_: Ask| -> std::pin::Pin<Box<dyn Future<Output = bool> + Send>> { panic!("asked") };
    let order = PurchaseOptions { approve: Some(&approve), ..PurchaseOptions::default() };
    let poor = Policy { limits: limits(&["$0.000015 per day"]), ..policy("$0.000009") };
    let poor = buyer(poor);
    poor.budget().reserve(purchase("before", NOW, "h", 6), &[]).await.unwrap();
    let over = poor.buy_with(&shop, &asked(), &order).await;
    assert!(matches!(over, Err(BuyError::OverBudget(_))));
    shop.then([Paid::Refused("settlement_pending")]);
    let heard = Mutex::new(Vec::new());
    let hear = |progress: Progress<'_>| {
        heard.lock().unwrap().push(match progress {
            Progress::Chosen(offer) => format!("{}", offer.amount),
            Progress::Presented => "presented".into(),
            Progress::Pending(time) => format!("pending {time:?}"),
        });
    };
    let order = PurchaseOptions { progress: Some(&hear), ..PurchaseOptions::default() };
    buyer(Policy::default()).buy_with(&shop, &asked(), &order).await.unwrap();
    let pending = format!("pending {:?}", Duration::from_secs(1));
    assert_eq!(*heard.lock().unwrap(), ["10", "presented", &pending, "presented"]);
}

#[tokio::test]
async fn hosts_that_are_not_listed_are_not_paid() {
    let shop = Shop::new([offer(10)]);
    for (hosts, paid) in [
        (vec!["SHOP.test"], true),
        (vec!["shop.test:80", "shop", "other.test"], false),
        (vec![], false),
    ] {
        let hosts = Some(hosts.into_iter().map(String::from).collect());
        match buyer(Policy { hosts, ..Policy::default() }).buy(&shop, &asked()).await {
            Ok(_) if paid => {}
            Err(BuyError::Declined(x402_std::buyer::Declined {
                reason: Decline::Host, ..
            })) if !paid => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(shop.payments().len(), 1);
    let payment = PaymentPayload::from_json(shop.payments()[0].as_bytes()).unwrap();
    assert_eq!(payment.network().to_string(), NETWORK);
}
