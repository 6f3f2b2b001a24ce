//! Published attacks on x402, and what this code does about each.
//!
//! In the manner of rustls' manual: what the attack is, what is done here, what is left to whoever
//! runs this, and the tests that fail if the defence is taken out, as `file::function`. What is not
//! built yet is said where it would belong, and again [at the end](#not-built-yet).
//!
//! # Replay at other endpoints and servers
//!
//! A signed payment is sent again: to the same route, to another one, to another server of the
//! seller's, or after a restart. arXiv 2605.11781 (attack II) got many grants for one payment where
//! a server kept no record of its own, because to the chain there is only one transfer anyway.
//!
//! **Here.** A payment is claimed before anything is done for it, by a key that every presentation
//! shares ([`Payment::claim_key`](x402_core::Payment::claim_key)): chain, token, payer and nonce on
//! EVM networks, the hash of the message on Solana. Spelling, protocol version, signature bytes and
//! URL are no part of it. Whoever shares a [`ClaimStore`](crate::store::ClaimStore) serves a
//! payment once; a claim is not forgotten [while the payment can
//! settle](x402_core::claim::ClaimState::is_forgettable), and a full store refuses new payments. A
//! payment must accept an offer of [this seller's](x402_core::seller::Seller::admit), and what was
//! signed must pay it.
//!
//! **Left to you.** [`MemoryStore`](crate::store::MemoryStore) is one process's, and forgets at
//! exit. Processes that sell for one payee need one store, [in SQLite or Redis](crate::store);
//! without it, only the facilitator and the chain stand between them.
//!
//! **Shown by:**
//! - `x402-std/tests/attacks.rs::a_payment_used_buys_nothing_anywhere`
//! - `x402-std/tests/attacks.rs::an_offer_written_over_the_one_paid_is_not_paid`
//! - `x402-std/tests/server.rs::one_payment_is_served_once`
//! - `x402-std/tests/server.rs::only_this_sellers_offers_are_paid`
//! - `x402-std/tests/solana.rs::a_payment_in_other_clothes_is_the_same_payment`
//! - `x402-evm/tests/vectors.rs::claim_key_is_the_payment_and_nothing_else`
//! - `x402-svm/tests/exact.rs::claims`
//! - `x402-std/src/store/memory.rs::full_store_refuses_and_forgets_only_what_it_may`
//! - `x402-std/tests/stores.rs::sqlite_keeps_what_a_killed_process_acknowledged`
//! - `x402-std/tests/stores.rs::redis_keeps_what_it_acknowledged_before_it_was_killed`
//! - `x402-std/tests/stores.rs::redis_that_may_lose_claims_is_refused`
//! - `x402-core/src/claim.rs::full_table_refuses_and_live_claims_stay`
//!
//! # Concurrent settlement of one payment
//!
//! The same payment arrives many times before the first settlement is final. On Solana every one of
//! these settlements may be told "success", since all are the same transaction. arXiv 2605.30998
//! calls it the duplicate-settlement race; the official SDKs added a cache of transactions in
//! flight (pull request x402-foundation/x402#1468).
//!
//! **Here.** Claims move by compare-and-swap ([`ClaimStore`](crate::store::ClaimStore)): of all who
//! present a payment, one is told that it is new, and one can move it to settled. In a process, one
//! settlement of a payment runs at a time. A presentation that finds another at work is answered
//! `busy` and costs nothing.
//! [`LocalFacilitator`](crate::facilitator::LocalFacilitator) keeps claims of its own, so sellers
//! that know nothing of each other are told "success" once. Whoever lost that answer is told again
//! only if they can name the secret they asked with
//! ([`Facilitator::settle_for`](crate::facilitator::Facilitator::settle_for)).
//!
//! **Left to you.** A facilitator over HTTP that says "success" twice is believed by two sellers
//! that share no store. Share the store. Processes of one facilitator need one too.
//!
//! **Shown by:**
//! - `x402-std/tests/server.rs::fifty_at_once_are_served_once`
//! - `x402-std/tests/solana.rs::fifty_at_once_are_served_once`
//! - `x402-std/tests/server.rs::a_second_presentation_waits_for_the_first`
//! - `x402-std/tests/server.rs::a_claim_noted_by_another_process_is_settled_all_the_same`
//! - `x402-std/tests/attacks.rs::a_payment_checked_by_two_sellers_is_served_by_one`
//! - `x402-std/src/store/memory.rs::one_of_many_threads_claims`
//! - `x402-std/tests/stores.rs::of_two_holders_one_goes_on`
//! - `x402-std/tests/service.rs::who_lost_an_answer_is_told_again_and_nobody_else`
//! - `x402-std/tests/evm_ledger.rs::a_facilitator_over_it_settles_once`
//! - `x402-std/tests/svm_ledger.rs::a_facilitator_settles_once_across_restarts`
//! - `x402-std/src/seller/settling.rs::a_turn_refused_leaves_the_one_taken_alone`
//!
//! # Resource binding
//!
//! What an EIP-3009 signature covers is a transfer: payer, payee, amount, time, nonce. It does not
//! name the resource, so a payment for one thing is as good for any other of the same price and
//! payee. arXiv 2605.30998 calls it cross-resource substitution.
//!
//! **Here.** By default a payment buys, once, any resource of the seller's that is offered for the
//! same. A seller to whom that is not the same can ask for more:
//! - [`Binding::one_url`](crate::seller::Binding::one_url): what is pending for one URL cannot be
//!   resumed for another.
//! - [`Binding::must_name_url`](crate::seller::Binding::must_name_url): a payment of version 2 must name the URL of
//!   the challenge. It guards against mix-ups only: whoever presents a payment can write that.
//! - [`Offers::with_memo`](crate::seller::Offers::with_memo): on Solana, where a memo is signed along, the
//!   memo must be one that only the seller's secret gives for method, path and offer.
//!
//! **Left to you.** On EVM networks the only thing signed that can tell resources apart is the
//! payee: give each its own. Whatever the answer depends on besides method and path (query, body,
//! headers) is not tied to the payment; make it cost the same. Inside a router that strips a prefix
//! (axum's `nest`), the layer sees the path without it, and so do all three: give the prefix in
//! [`PaymentLayer::with_base_url`](crate::seller::server::PaymentLayer::with_base_url).
//!
//! **Shown by:**
//! - `x402-std/tests/binding.rs::a_payment_names_the_url_it_is_for`
//! - `x402-std/tests/binding.rs::what_is_pending_is_resumed_for_the_same_resource`
//! - `x402-std/tests/binding.rs::a_memo_ties_a_payment_to_method_and_path`
//! - `x402-std/tests/binding.rs::memos_differ_by_everything_they_are_made_of`
//! - `x402-std/tests/attacks.rs::a_mount_is_part_of_the_path_if_it_is_named`
//! - `x402-svm/tests/exact.rs::memos`
//!
//! # Cache leaks of paid bodies
//!
//! A shared cache in front of the seller keeps an answer that was paid for and gives it to the next
//! one who asks, or gives one buyer's challenge to another. arXiv 2605.11781 (attack III).
//!
//! **Here.** A challenge and every refusal say `Cache-Control: no-store`; what was paid for says
//! `private`, whatever else the handler says
//! ([`CACHE_CHALLENGE`](x402_core::http::CACHE_CHALLENGE),
//! [`CACHE_PAID`](x402_core::http::CACHE_PAID)).
//!
//! What a handler says to the contrary is taken back, to shared caches at large and to those of
//! content networks (`CDN-Cache-Control`, `Surrogate-Control`).
//!
//! **Left to you.** Rules of your own in a cache: set none for paid routes. What is free for some
//! and paid by others under one URL ([`PaymentLayer::with_offers_for`](crate::seller::server::PaymentLayer::with_offers_for)) needs a
//! `Vary` or `no-store` of the handler's.
//!
//! **Shown by:**
//! - `x402-std/tests/attacks.rs::paid_bodies_are_private_whatever_the_handler_says`
//! - `x402-std/tests/attacks.rs::answers_that_cost_nothing_are_not_kept_either`
//! - `x402-std/tests/server.rs::unpaid_gets_the_challenge_in_header_and_body`
//! - `x402-std/tests/server.rs::one_payment_is_served_once`
//!
//! # Encoded paths
//!
//! The middleware compares paths as they were sent, the router as it decodes them: `/we%61ther` is
//! free, and the same resource. GHSA-3j63-5h8p-gf7c (`x402`, `x402-express`, `x402-hono` and
//! `x402-next` before 0.5.2), whose fix decodes before it compares.
//!
//! **Here.** No path is compared. The price hangs on the route: [`PaymentLayer`](crate::seller::server::PaymentLayer)
//! is a layer around the handler, and whatever reaches the handler has passed it, by any path and
//! any method. The command `x402 serve` charges for every path, and passes none on that leads out
//! of its upstream's.
//!
//! **Left to you.** [`PaymentLayer::with_offers_for`](crate::seller::server::PaymentLayer::with_offers_for) sees the path as it was
//! sent. A function that prices by path must decode as its handler does; let what it does not know
//! cost the most rather than nothing. Rewriting after the layer undoes it.
//!
//! **Shown by:**
//! - `x402-std/tests/attacks.rs::no_spelling_of_a_path_is_free`
//! - `x402-std/tests/attacks.rs::a_price_on_everything_is_on_every_spelling`
//! - `x402-std/tests/server.rs::preflight_is_answered_and_reaches_nothing`
//! - `x402-std/tests/cli.rs::fronts_another_server`
//! - `x402-std/src/bin/x402/upstream.rs::stays_inside_the_base`
//!
//! # Ways round a proxy
//!
//! `x402 serve --upstream http://host/api` sells what is below `/api`. `..%2f`, `..;/` and
//! `%252e%252e` are harmless to who reads a path once, and lead out of it where a server decodes
//! first. `CONNECT` asks for a tunnel, and `X-Forwarded-For` says who the buyer would like to be.
//!
//! **Here.** A path is decoded until nothing changes. It is refused with 400 if a segment is nothing
//! but dots and blanks, if there is a control character or anything that is not UTF-8, and if it still
//! changes after eight rounds. Segments end at `/`, `\` and `;`, and at what else servers take for
//! these. Plain `.` and `..` are refused too, and not resolved. The path is sent as it was checked.
//! Methods other than `GET`, `HEAD`, `POST`, `PUT`, `PATCH`, `DELETE` and `OPTIONS` are answered 405.
//! Both happen before a payment is looked at. The buyer's `X-Forwarded-*`, `Forwarded`, `Via`,
//! `X-Real-IP`, `X-Original-URL` and their like are dropped, however the name is spelt, and the true
//! address, host and protocol are sent instead. An answer that is too long to be withheld until
//! settlement is a 502 that says so, and is not charged for.
//!
//! **Left to you.** A server behind that is to be reached by nobody else must not be: the proxy guards
//! its own door only. Behind a proxy of your own, the address that is sent on is that proxy's.
//!
//! **Shown by:**
//! - `x402-std/tests/cli.rs::no_path_leads_out_of_what_is_sold`
//! - `x402-std/tests/cli.rs::tunnels_and_echoes_are_refused_before_anything_is_claimed`
//! - `x402-std/tests/cli.rs::the_server_behind_is_told_by_the_proxy_who_asks`
//! - `x402-std/tests/cli.rs::odd_answers_of_the_server_behind`
//! - `x402-std/src/bin/x402/upstream/path.rs::no_spelling_of_a_way_up_stays`
//! - `x402-std/src/bin/x402/upstream/path.rs::other_paths_stay`
//!
//! # Verify, then spend elsewhere
//!
//! A check of the balance reserves nothing. Between check and settlement the buyer moves the money
//! away, or has many payments checked against one balance at once: arXiv 2605.30998 describes the
//! latter for allowances (allowance overdraft). The work has been done, and the settlement fails.
//!
//! **Here.** The answer, headers included, is withheld until the payment is settled, up to
//! [`BODY_LIMIT`](crate::seller::server::BODY_LIMIT); what does not settle is not sent. With the flow
//! [`upfront`](crate::message::PaymentRequirements::upfront) no work is done before the money has
//! moved.
//!
//! **Left to you.** With the default flow the work itself may be for nothing, and so may be what it
//! did besides answering. Where it costs more than a request may cost you, offer `upfront`.
//! Allowances do not come into it: Permit2 and `upto` are refused.
//!
//! **Shown by:**
//! - `x402-std/tests/attacks.rs::money_spent_after_the_check_buys_nothing`
//! - `x402-std/tests/attacks.rs::a_payment_checked_by_two_sellers_is_served_by_one`
//! - `x402-std/tests/server.rs::upfront_settles_before_the_handler`
//! - `x402-std/tests/server.rs::a_refused_settlement_is_final_and_withholds_the_body`
//! - `x402-std/tests/server.rs::poor_buyers_are_told_before_anything_is_done`
//!
//! # Grant, then revert
//!
//! The resource is given when the transaction is sent, and the transaction then fails, is never
//! mined, or is undone by a reorganisation. arXiv 2605.11781 (attack I-A).
//!
//! **Here.** Only a facilitator's "success" without contradictions is taken for one: it names a
//! transaction of the network's form, no other network, no other payer, no smaller amount and no reason
//! for an error, and a transaction that settled another payment here settles none. All that is unclear
//! (no answer, pending, a fault, "failed" without a transaction) is `settlement_pending`, or
//! `unknown_settlement_error` as long as no transaction is known: nothing is served, the claim stays
//! ([`ClaimState`](x402_core::claim::ClaimState)), and the same payment, presented again, finds out. A
//! reason of the facilitator's own is a refusal only if it names no transaction and speaks of no fault.
//!
//! A facilitator of this library writes down a transaction before it sends it, and believes none of
//! what a node says to the sending. Settled is, on EVM chains, a receipt with status 1 **and** the
//! token's log of the very transfer, in a block that is as deep as
//! [asked](crate::facilitator::ledger::EvmChain::confirmations) and still the one at its height; on Solana, the very
//! message at the [commitment asked](crate::facilitator::ledger::SvmSettings::commitment), without an error and with
//! its effect. Failed is what can never move the money any more: it takes [more
//! blocks](crate::facilitator::ledger::EvmChain::failed_after) than settled does, and on Solana finality. The rest
//! is pending. With several nodes, as many [witnesses](crate::facilitator::ledger::EvmChain::witnesses) as asked
//! must say alike.
//!
//! **Left to you.** How deep is deep enough, and how many nodes lie alike, for what you sell. Of
//! another facilitator all that is its judgement. Nobody takes money back for a reorganisation
//! deeper than was waited for.
//!
//! **Shown by:**
//! - `x402-std/tests/server.rs::an_unclear_settlement_is_resumed_by_the_same_payment`
//! - `x402-std/tests/delivery.rs::a_success_that_contradicts_itself_serves_nothing`
//! - `x402-std/tests/server.rs::a_lost_answer_stays_pending`
//! - `x402-std/tests/server.rs::receipts_hold_what_is_the_buyers_to_know`
//! - `x402-std/tests/evm_ledger.rs::what_nodes_do_with_a_transaction`
//! - `x402-std/tests/evm_ledger.rs::nothing_is_final_before_it_is_deep`
//! - `x402-std/tests/evm_ledger.rs::failed_is_certain`
//! - `x402-std/tests/evm_ledger.rs::failed_is_surer_than_settled`
//! - `x402-std/tests/evm_ledger.rs::one_liar_of_two_witnesses_proves_nothing`
//! - `x402-std/tests/svm_ledger.rs::outcomes_are_certain_or_pending`
//! - `x402-std/tests/solana.rs::failed_without_a_transaction_is_not_certain`
//! - `x402-std/tests/solana.rs::what_is_pending_is_resumed_and_not_sent_again`
//! - `x402-core/src/claim.rs::every_step_of_the_machine`
//!
//! # Front-run settlement
//!
//! Anybody who sees an EIP-3009 authorization can send it (EIP-3009 itself warns contracts of
//! that); the facilitator then finds the nonce used. The payee has the money, and the buyer is told
//! to pay again. arXiv 2605.11781 (attack I-B). Cantina's review of the x402 contracts has a
//! relative of it: of `upto`, anybody could settle for another amount, since the signature did not
//! name who may.
//!
//! **Here.** "Nonce already used" and "duplicate" are never a failure once a payment was admitted:
//! the answer is `settlement_pending` or `unknown_settlement_error`, the claim stays, no reason to sign another payment is given.
//! Only `exact` is taken, where the amount is signed; `upto` is refused.
//!
//! A facilitator of this library finds whoever used the authorization it has sent. Was it one of
//! its own accounts, it is settled. Was it a stranger, it stays pending with a record, unless the
//! operator takes [strangers' settlements](crate::facilitator::ledger::EvmChain::settled_by_others) for its own: the
//! stranger may be another facilitator, which has the same payment served elsewhere. A transfer
//! counts only if the token logs it right after the use of this very authorization.
//!
//! **Left to you.** Whether to take strangers' settlements: do, if no other facilitator works for
//! your sellers. Otherwise such a buyer stays unserved until somebody looks at the record. A payment
//! that was sent by another before it was presented here at all is refused as used. Give buyers
//! somebody to ask.
//!
//! **Shown by:**
//! - `x402-std/tests/attacks.rs::a_settlement_sent_by_another_is_not_a_failure`
//! - `x402-std/tests/server.rs::an_echo_of_ones_own_broadcast_is_not_a_failure`
//! - `x402-std/tests/client.rs::declines_what_the_policy_does_not_allow`
//!
//! # Denial of settlement
//!
//! The buyer makes the settlement fail after the work, hangs up in the middle, asks for what never
//! ends, or fills the seller's memory with payments that never land. arXiv 2605.30998 (denial of
//! settlement). A payment costs its payer nothing until it is settled.
//!
//! **Here.** Work is done in the connection's own future and ends with it, and no later than its
//! payment could be settled; the payment is given back then. Only a settlement that has begun runs
//! to its end, whoever hangs up, and is recorded. The body of a request is read before anything is
//! done for its payment, within [`REQUEST_LIMIT`](crate::seller::server::REQUEST_LIMIT) and 30 seconds. A layer
//! works on [`PAYMENTS_AT_ONCE`](crate::seller::server::PAYMENTS_AT_ONCE), a seller on
//! [`PAYER_AT_ONCE`](crate::seller::PAYER_AT_ONCE) of one payer; beyond that, and with a full store,
//! the answer is 503.
//!
//! **Left to you.** A handler's answer of 400 or above is sent and not charged for: put nothing of
//! value into it. Such a payment is whole and may be presented again, which costs you the work
//! again, or offer `upfront`. A handler that must not be stopped halfway spawns its own task. Volume
//! is not defended against.
//!
//! **Shown by:**
//! - `x402-std/tests/delivery.rs::work_ends_with_its_connection`
//! - `x402-std/tests/delivery.rs::work_ends_when_its_payment_does`
//! - `x402-std/tests/delivery.rs::bodies_of_paid_requests_are_bounded`
//! - `x402-std/tests/server.rs::a_second_presentation_waits_for_the_first`
//! - `x402-std/tests/client.rs::a_settlement_outlives_the_caller`
//! - `x402-std/tests/server.rs::a_pending_payment_outlives_its_validity`
//! - `x402-std/tests/server.rs::the_facilitator_finds_out_about_expired_payments`
//! - `x402-std/tests/server.rs::nothing_is_charged_for_a_failed_handler`
//! - `x402-std/tests/attacks.rs::who_is_busy_serves_nobody`
//! - `x402-evm/tests/vectors.rs::signs_what_the_official_clients_sign`
//!
//! # Answers that are lost after they were paid for
//!
//! The payment settles, and the answer does not arrive: a proxy gives up after 30 seconds, a phone is
//! in a tunnel, a server is killed. The buyer has paid, and the same payment is a duplicate.
//!
//! **Here.** The answer is kept for ten minutes, in 64 MB for all. The same payment for the same
//! request (method, URL and body, see [`RequestDigest`](crate::seller::RequestDigest)) gets the same
//! bytes again if the connection ended before all was written, or broke after it. The claim says
//! `delivered` before the last 64 KB are written; a process that finds that another one has taken it
//! over ends the body there, and gives nothing of what it kept. After a restart, a payment that settled
//! and was not delivered has its work done once more, for the same request, by one process: at once if
//! no other uses the file of claims, else after [`DELIVERY_SECONDS`](crate::seller::DELIVERY_SECONDS).
//! Work that fails then may be asked for again. `x402 serve` waits for settlements when it is asked to
//! stop.
//!
//! **Left to you.** With claims in memory nothing outlives the process. Work that must not be done
//! twice needs a key of its own: the payment's, say. Whoever has the payment and the whole request
//! gets the kept answer: use TLS. With `upfront` the body is streamed and not kept: it counts as
//! delivered when the handler has answered below 400. A process that is killed while the last 64 KB, and
//! what its connection still holds back for a slow reader, are on their way loses the answer. Somebody
//! who reads slowly on purpose may get most of a long answer from one process and all of it from another.
//!
//! **Shown by:**
//! - `x402-std/tests/delivery.rs::an_answer_lost_after_settlement_is_given_again_to_the_same_request`
//! - `x402-std/tests/delivery.rs::a_lost_answer_is_given_to_one_at_a_time`
//! - `x402-std/tests/delivery.rs::an_answer_lost_over_a_restart_is_made_once_more`
//! - `x402-std/tests/delivery.rs::an_answer_that_another_process_may_be_writing_is_not_made`
//! - `x402-std/tests/delivery.rs::a_delivered_answer_is_not_made_again_after_a_restart`
//! - `x402-std/tests/delivery.rs::a_payment_buys_one_whole_answer_from_two_processes`
//! - `x402-std/src/seller/answers.rs::who_delivered_it_gives_it_again_and_nobody_else`
//! - `x402-std/src/seller/answers.rs::what_is_on_its_way_is_not_made_anew`
//! - `x402-std/tests/stores.rs::sqlite_says_since_when_it_is_used_alone`
//! - `x402-std/src/seller/answers.rs::only_what_was_lost_is_given_again_and_only_to_the_same_request`
//! - `x402-std/src/seller/answers.rs::what_is_kept_is_bounded`
//!
//! # Payments that nobody finishes
//!
//! A facilitator dies after it has sent a payment, or before; a seller loses the facilitator's answer.
//! The money has moved, or may, and the claim is pending for as long as nobody asks.
//!
//! **Here.** [`Seller::keep`](crate::seller::Seller::keep) and
//! [`LocalFacilitator::keep`](crate::facilitator::LocalFacilitator::keep) finish what is pending, at
//! the start and all the time; the commands run them. The request and the signed transaction are kept
//! beside the claim, so a payment that was written down and not sent is sent, or another transaction
//! in its place. Of the processes that share a store, one works on a payment at a time, and one that
//! hangs holds up no other. An account that is stuck behind a transaction nobody knows of has it
//! replaced. A claim of which nothing was sent ends with its lease, and says why it is late.
//!
//! **Left to you.** Spawn both in a program of your own. A store of your own finishes nothing unless it
//! keeps records ([`ClaimStore::pending`](crate::store::ClaimStore::pending)).
//!
//! **Shown by:**
//! - `x402-std/tests/delivery.rs::pending_payments_are_finished_without_being_asked_about`
//! - `x402-std/tests/delivery.rs::a_late_claim_says_why_it_is_late`
//! - `x402-std/tests/evm_ledger.rs::a_killed_settlement_is_finished_by_the_keeper`
//! - `x402-std/tests/evm_ledger.rs::what_was_written_down_is_sent_by_the_next_life`
//! - `x402-std/tests/evm_ledger.rs::a_hanging_send_holds_up_nobody`
//! - `x402-std/tests/evm_ledger.rs::an_unknown_transaction_does_not_hold_up_an_account_for_ever`
//! - `x402-std/tests/stores.rs::sqlite_takes_files_of_the_version_before`
//!
//! # Stores that are filled for ever
//!
//! A claim is kept until its payment can no longer settle, and the buyer writes when that is:
//! `validBefore` may be 2^256-1. Or a facilitator is busy for minutes, and the claims of payments that
//! were never sent stay for a day.
//!
//! **Here.** The gate refuses a payment that is good for longer than its offer's time-out, of at most a
//! week, and [`VALIDITY_SLACK_SECONDS`](x402_evm::VALIDITY_SLACK_SECONDS). A claim without a known
//! transaction lives ten minutes beyond its payment. A facilitator's `busy` without a transaction gives
//! the claim back. Keepers warn when a store is four fifths full; `x402_store` shows it. A full store in
//! memory does not look at all claims for each payment.
//!
//! **Left to you.** A store that is large enough for a time-out's sales.
//!
//! **Shown by:**
//! - `x402-evm/tests/vectors.rs::validity_is_bounded_by_the_offer`
//! - `x402-std/tests/delivery.rs::busy_gives_the_claim_back`
//! - `x402-std/tests/stores.rs::memory_does_what_the_model_does`
//! - `x402-std/tests/stores.rs::sqlite_files_that_are_gone_take_nothing`
//! - `x402-core/src/claim.rs::kept_as_long_as_is_forgettable_says`
//!
//! # Gas that is burnt
//!
//! A payer makes the facilitator's transactions fail. An account with code (a contract, or EIP-7702)
//! says yes when it is asked and loops when it is paid for. One balance pays for many payments at once.
//! An authorization ends before the next block.
//!
//! **Here.** Accounts with code are refused unless
//! [`smart_wallets`](crate::facilitator::ledger::EvmChain::smart_wallets) are taken, which the service does not unless
//! told. Where they are, they are simulated with the fees that will be paid, have few of the places,
//! and rest for an hour after a failure, and their code after two; above
//! [`max_gas_lost`](crate::facilitator::ledger::EvmChain::max_gas_lost) all of them rest, and keys go on. A key whose
//! transaction failed rests for half a minute, then for longer. A payment is sent only if the balance
//! covers it with all of the payer's that are on their way, and if it is valid for two more blocks.
//! `x402_gas_lost` shows what was lost.
//!
//! **Left to you.** Whether to take accounts with code: each new one can cost you one transaction, up to
//! the ceiling. Processes that share a store do not know of each other's payments on their way. Known
//! tokens only, unless told: a token's own code could do the same. A price for the chain's coin
//! ([`coin_price`](crate::facilitator::ledger::EvmChain::coin_price)), for payments that cost more than they bring.
//!
//! **Shown by:**
//! - `x402-std/tests/evm_ledger.rs::code_is_not_paid_for_unless_it_is_taken`
//! - `x402-std/tests/evm_ledger.rs::who_made_a_transaction_fail_waits`
//! - `x402-std/tests/evm_ledger.rs::one_balance_pays_for_what_it_covers_and_no_more`
//! - `x402-std/tests/evm_ledger.rs::a_payment_must_outlive_two_blocks`
//! - `x402-std/tests/evm_ledger.rs::gas_is_held_against_what_is_paid`
//! - `x402-std/tests/evm_ledger.rs::what_is_above_the_places_waits_for_one`
//! - `x402-std/src/facilitator/ledger/evm/guard.rs::who_made_transactions_fail_rests`
//! - `x402-std/src/facilitator/ledger/evm/guard.rs::one_balance_is_sent_once`
//!
//! # Parser differentials
//!
//! Two readers of one message see two payments: an amount as `1e4`, `010000` or `10000`, base64
//! with stray bits, a key given twice, a name with a letter that looks like another. Whoever checks
//! one and settles the other is robbed. The SOLMAL articles on x402 (blog.skill-issue.dev) list
//! amounts as their vector 9.
//!
//! **Here.** One reader ([`x402_core::json`]) for everything anybody sends, over bytes. Amounts
//! have one grammar ([`Amount::parse`](x402_core::Amount::parse)), base64 one spelling
//! ([`x402_core::base64`]), addresses, signatures and base58 one length and alphabet. A repeated
//! key is refused however it is escaped, in objects of extensions too, and so are a second payment
//! header and a payment in the other version's header. Text is compared by its characters, never
//! normalised; only hexadecimal addresses are one in any letter case. Money is counted without
//! floats. Nothing malformed is repaired: it is a 400 with a code. Solana's messages are read byte
//! for byte as the validators read them.
//!
//! **Left to you.** Own readers of `extra` and of extensions: read
//! [`RawJson`](x402_core::json::RawJson), not the bytes again with another library.
//!
//! **Shown by:**
//! - `x402-core/tests/hostile.rs::amounts`
//! - `x402-core/tests/hostile.rs::money`
//! - `x402-core/tests/hostile.rs::base64_has_one_alphabet_and_one_spelling`
//! - `x402-core/tests/hostile.rs::duplicate_keys_of_protocol_objects`
//! - `x402-core/tests/hostile.rs::duplicate_keys_of_open_objects`
//! - `x402-core/tests/hostile.rs::strings`
//! - `x402-core/tests/hostile.rs::not_utf8`
//! - `x402-core/tests/hostile.rs::networks`
//! - `x402-core/tests/hostile.rs::one_payment_to_a_request`
//! - `x402-core/tests/hostile.rs::an_offer_cannot_be_changed`
//! - `x402-core/tests/properties.rs::json_is_read_as_serde_json_reads_it`
//! - `x402-core/tests/properties.rs::base64_has_no_second_spelling`
//! - `x402-core/tests/properties.rs::amounts_have_one_spelling`
//! - `x402-std/tests/server.rs::what_cannot_be_read_is_400_with_a_code`
//! - `x402-std/tests/messages.rs::refuses_what_the_core_refuses`
//! - `x402-svm/tests/exact.rs::payloads`
//! - `x402-svm/tests/exact.rs::memos`
//! - `x402-svm/tests/messages.rs::lengths_have_one_form`
//! - `x402-svm/src/base58.rs::one_spelling_of_each_length`
//!
//! # Forged and malleable signatures
//!
//! A verifier that takes a facilitator's or its own look at a transaction for a signature is paid
//! with nothing: GHSA-qr2g-p6q7-w82m concerns facilitators on Solana (`@x402/svm` before 2.6.0,
//! PyPI `x402` before 2.3.0, the Go module before 2.5.0); third parties describe it as payment
//! signatures that were not verified. And a signature with a second valid spelling (`s` or its
//! negative) is a second payment to whoever goes by its bytes.
//!
//! **Here.** [`gate::verify`](x402_core::gate::verify) recovers or verifies every signature here,
//! before any facilitator is asked, whose "valid" does not replace it; only the gate makes a
//! [`Verified`](x402_core::gate::Verified). A
//! [`RecoverableSignature`](x402_core::crypto::RecoverableSignature) has `s` in the lower half, 65
//! bytes and one of four `v`, or is none; Ed25519 is verified strictly. Claims do not go by
//! signatures.
//!
//! **Left to you.** Nothing, if the curve crates are right.
//!
//! **Shown by:**
//! - `x402-std/tests/evm_ledger.rs::smart_accounts`
//! - `x402-std/tests/payments.rs::what_is_taken_and_as_what`
//! - `x402-std/tests/payments.rs::a_ledger_that_cannot_ask_settles_none`
//! - `x402-std/tests/attacks.rs::forged_signatures_are_refused_whoever_vouches`
//! - `x402-evm/tests/vectors.rs::recorded_payments_verify_and_mutations_do_not`
//! - `x402-core/src/crypto/signature.rs::refuses_every_second_spelling`
//! - `x402-core/src/crypto/ed25519.rs::signs_and_verifies_strictly`
//! - `x402-svm/tests/exact.rs::signatures`
//! - `x402-svm/tests/vectors.rs::recorded_payments_verify_and_no_bit_of_them_may_change`
//! - `x402-std/tests/solana.rs::a_payment_in_other_clothes_is_the_same_payment`
//!
//! # Smart wallets and ERC-6492 factories
//!
//! An ERC-6492 signature brings a contract to call before it is looked at. Official facilitators
//! called whatever a payment named, from an account with funds (x402-foundation/x402#2480), and
//! took the signature inside for good if the wallet did not exist yet (x402-foundation/x402#1265).
//!
//! **Here.** Unless [told](crate::scheme::ExactOnEvm::smart_wallets), a signature of another length
//! than 65 bytes is no signature, and no contract is ever called. A facilitator that is told asks the
//! contract at the payer's address, which alone has a say where there is one (ERC-1271); what it does
//! not vouch for is refused, before a transaction is made and whenever somebody asks what became of
//! one. Where there is none yet, the factory must be [listed](crate::facilitator::ledger::EvmChain::factories), the
//! list is empty at first, and deployment and transfer are one transaction, which is simulated first:
//! nobody has a wallet deployed at your cost without paying. On Solana, programs other than the two
//! of tokens cannot pay.
//!
//! **Left to you.** Which factories to list: what they are told to do, they do with your gas. A
//! seller that takes such payments depends on its facilitator for who signed them.
//!
//! **Shown by:**
//! - `x402-std/tests/attacks.rs::forged_signatures_are_refused_whoever_vouches`
//! - `x402-evm/tests/vectors.rs::recorded_payments_verify_and_mutations_do_not`
//! - `x402-svm/tests/exact.rs::transfer_accounts_and_instructions`
//!
//! # What a fee payer can lose on Solana
//!
//! The buyer writes the transaction, and the facilitator signs it as fee payer:
//! - **Drain.** An instruction that names the fee payer moves what is its own.
//! - **Injection.** More instructions than the transfer: another transfer back, a program of the
//!   buyer's (SOLMAL, vector 2).
//! - **Burn.** A high priority fee: The official cap on its price once did not work
//!   (x402-foundation/x402#2478), and left 0.007 SOL a payment, since units had none (#3120).
//! - **Durable nonces.** A payment that lives by a nonce account instead of a blockhash never
//!   expires, and outlives every memory of it.
//!
//! **Here.** [`ExactSvm`](x402_svm::ExactSvm) takes limit, price, one transfer, and then only memos
//! and Lighthouse's assertions; the fee payer may be in no instruction's accounts, address tables
//! included, and those are refused unless somebody [resolves](crate::scheme::ExactOnSvm::resolve)
//! them. [`Limits`](x402_svm::Limits) caps units, price, their product and the signatures. A
//! durable nonce must come first, where the budget is: there is no place for it. A facilitator
//! signs with [its own](crate::facilitator::ledger::Networks::signers) keys only, and for none of them as
//! payer. [`SvmLedger`](crate::facilitator::ledger::SvmLedger) has the transaction simulated unsigned, looks at
//! what it would cost the fee payer, and signs after that. It adds up what is on its way from each
//! token account: one balance pays for as many payments as it covers. A payer whose transaction failed
//! on the chain waits for 30 seconds, and twice as long each time after, up to an hour.
//!
//! **Left to you.** Within the limits a stranger can still make you pay one fee for each of his accounts
//! (SOLMAL, vector 3), if the money is spent between simulation and execution: lower
//! [`Limits`](x402_svm::Limits). Processes do not tell each other what is on its way.
//!
//! **Shown by:**
//! - `x402-svm/tests/exact.rs::transfer_accounts_and_instructions`
//! - `x402-std/tests/svm_ledger.rs::checks_before_anything_is_signed`
//! - `x402-std/tests/svm_ledger.rs::one_balance_is_sent_once`
//! - `x402-svm/tests/exact.rs::budget`
//! - `x402-svm/tests/exact.rs::budget_of_v1`
//! - `x402-svm/tests/exact.rs::rules`
//! - `x402-svm/tests/exact.rs::address_tables`
//! - `x402-svm/tests/vectors.rs::negative_cases_give_the_official_reason`
//! - `x402-std/tests/solana.rs::the_facilitator_pays_fees_with_its_own_key_only`
//! - `x402-std/tests/solana.rs::nobody_pays_with_the_tokens_of_another`
//!
//! # Token-2022 mints with fees and hooks
//!
//! A mint may keep a part of each transfer, run a program of its issuer's with it, freeze accounts
//! from the start, or let somebody take tokens back. The amount transferred is then not the amount
//! received and kept.
//!
//! **Here.** A Token-2022 mint is taken only if the library's table or the caller knows it
//! ([`ExactOnSvm::assets`](crate::scheme::ExactOnSvm::assets)), and nobody's word makes one
//! [safe](x402_svm::Mint::is_safe) that has such an extension or one that is not known here.
//! [`Mint::parse`](x402_svm::Mint::parse) reads a mint's account. Buyers follow the same rule.
//!
//! **Left to you.** What you vouch for, read from the cluster yourself. The table vouches for its
//! own, whose issuers could still use what they have. What arrived, only the chain knows: see [not
//! built yet](#not-built-yet).
//!
//! **Shown by:**
//! - `x402-svm/tests/exact.rs::tokens`
//! - `x402-svm/tests/exact.rs::buyer_and_verifier_agree`
//! - `x402-svm/src/mint.rs::mints_with_and_without_extensions`
//! - `x402-svm/src/mint.rs::what_is_no_mint`
//! - `x402-std/tests/solana.rs::unlisted_tokens_take_a_word_from_both_sides`
//!
//! # Facilitators that redirect, fail or lie
//!
//! A seller that follows its facilitator's redirect asks somebody else whether it was paid. One
//! that serves when the facilitator is down is free for whoever takes it down. One that believes
//! every word serves on another network's transaction.
//!
//! **Here.** [`RemoteFacilitator`](crate::facilitator::RemoteFacilitator) is asked over TLS or on
//! this machine, follows no redirect, uses no proxy of the environment, and has bounds in time and
//! size. No answer, or one that is not a whole answer with status 2xx, agrees to nothing
//! ([`FacilitatorError`](crate::facilitator::FacilitatorError)): verification that fails is 502,
//! settlement that may have happened is pending. A "success" needs a transaction and this payment's
//! network. [`Offers::with_supported`](crate::seller::Offers::with_supported) refuses offers that it does not
//! settle. Its explanations do not reach the buyer.
//!
//! **Left to you.** "Success" with a transaction is believed: PyPI `x402` 2.25 says so of Solana
//! transactions that failed on chain. Choose a facilitator that looks, or look yourself. If it
//! cannot be reached at the start, the command `x402 serve` makes its offers on EVM networks all
//! the same, and refuses payments until it answers.
//!
//! **Shown by:**
//! - `x402-std/tests/attacks.rs::a_facilitator_cannot_send_a_seller_elsewhere`
//! - `x402-std/tests/attacks.rs::forged_signatures_are_refused_whoever_vouches`
//! - `x402-std/tests/client.rs::a_facilitators_odd_answers_are_errors`
//! - `x402-std/tests/client.rs::a_facilitator_is_asked_over_tls_or_on_this_machine`
//! - `x402-std/tests/server.rs::a_facilitator_that_fails_to_verify_never_makes_it_free`
//! - `x402-std/tests/server.rs::an_unclear_settlement_is_resumed_by_the_same_payment`
//! - `x402-std/tests/server.rs::receipts_hold_what_is_the_buyers_to_know`
//! - `x402-std/tests/solana.rs::offers_are_completed_or_refused`
//! - `x402-std/tests/cli.rs::serves_with_a_facilitator_over_http`
//!
//! # A facilitator that works for anybody
//!
//! A facilitator pays for what others ask of it: gas, lamports, the code of a token. A page in a
//! browser on its host reaches it by a plain form, or by a name that it makes point there (DNS
//! rebinding). A hostile buyer reaches it through an honest seller, and chooses the priority fee.
//!
//! **Here.** An [`Acceptance`](crate::facilitator::Acceptance) names payees, tokens and a least
//! amount, and is applied to verifying and settling before a chain is asked. Unless told, tokens are
//! the known ones. [`Callers`](crate::facilitator::Callers) has bearer tokens, compared by their
//! hashes, and the names the service is known by. A body that is not `application/json` and a page of
//! another origin are refused in any case. The command `x402 facilitator` answers to its own address
//! and to `localhost`, probes included, and lets a payment on Solana cost 30 000 lamports.
//!
//! **Left to you.** Without a token, everybody who reaches the service may ask it; without payees, for
//! anybody. The least amount is nothing unless you set it: set it above what a settlement costs you.
//! TLS is a proxy's, and the token is a secret in every request.
//!
//! **Shown by:**
//! - `x402-std/tests/service.rs::payments_that_are_not_taken_on`
//! - `x402-std/tests/service.rs::requests_of_pages_are_refused`
//! - `x402-std/tests/config.rs::callers_are_looked_at`
//! - `x402-std/tests/config.rs::what_is_taken_on_is_configured`
//! - `x402-std/tests/config.rs::mistakes_are_named`
//! - `x402-std/tests/cli.rs::a_token_for_the_facilitator`
//! - `x402-std/tests/cli.rs::a_simulated_facilitator_is_for_its_own_names`
//! - `x402-std/src/facilitator/accept.rs::what_is_taken_on`
//! - `x402-std/src/facilitator/callers.rs::names_of_a_listener`
//! - `x402-std/src/facilitator/callers.rs::origins_of_the_same_host`
//!
//! # Receipts that prove nothing
//!
//! A seller answers a payment with an error, or with nothing of value, and with a receipt that it made
//! up: no transaction, somebody else's payer, another network, a smaller amount. A buyer that believes
//! it takes the purchase for done, forgets the payment, and has no way left to get what it paid for.
//!
//! **Here.** One function decides for every buyer what a receipt proves
//! ([`Paid::proof`](crate::buyer::Paid::proof)): the answer is a success and no redirect; the receipt
//! has no error beside its success, and a transaction id in the network's form; network, payer and
//! amount, where it gives them, are those of this payment. Anything else is a
//! [`Doubt`](crate::buyer::Doubt): the purchase stays signed, the payment is kept, and the same one is
//! presented when the purchase is ordered again. `x402 pay` and `x402 mcp` say so.
//!
//! **Left to you.** A receipt that fits is the seller's word all the same: whether the transaction
//! exists, and what it moved, the chain knows.
//!
//! **Shown by:**
//! - `x402-std/tests/client.rs::a_receipt_that_proves_nothing_ends_no_purchase`
//! - `x402-std/tests/client.rs::an_empty_amount_is_none`
//! - `x402-std/tests/pay.rs::a_receipt_that_proves_nothing_is_not_called_paid`
//! - `x402-std/tests/agent.rs::receipts_of_other_payments_are_said_to_be`
//!
//! # Agents that are sent to services of this machine
//!
//! A seller lists `DELETE http://127.0.0.1:2375/containers/db`, or a text talks a model into asking the
//! router, a metadata service or a database behind the firewall. An agent that asks any URL does it, with
//! whatever method, headers and body it is given, and brings back the answer.
//!
//! **Here.** Without `--host`, `x402 mcp` asks https URLs at public addresses only. It judges by the
//! address that it connects to, whatever the name; other spellings of an address, and IPv6 addresses
//! with an IPv4 one inside, are judged alike. No proxy is used then, since it would connect elsewhere.
//! Names of this machine and of private networks are refused by themselves, and listings that lead
//! there are left out. `--host NAME` allows https to that host, `--host http://NAME` plain http too,
//! and `--host 127.0.0.1:4021` a server on this machine. Headers that carry rights (`Authorization`,
//! `Cookie`, `Origin`, `Proxy-*`) go to named hosts only. `x402_quote` is marked destructive, and sends
//! GET and HEAD only, other methods to named hosts.
//!
//! **Left to you.** A host that is named is trusted with what its name resolves to. Public services that
//! take your machine's address for a right are reached as by anybody here. `--discover` is asked as written.
//!
//! **Shown by:**
//! - `x402-std/tests/agent.rs::nothing_on_this_machine_is_asked_unless_it_is_named`
//! - `x402-std/src/bin/x402/mcp/agent/reach.rs::what_is_not_public_is_known_by_its_address`
//! - `x402-std/src/bin/x402/mcp/agent/reach.rs::without_a_name_only_the_public_internet_is_asked`
//! - `x402-std/src/bin/x402/mcp/agent/reach.rs::a_name_means_https_unless_it_is_written_with_http`
//! - `x402-std/src/bin/x402/mcp/agent/reach.rs::a_name_that_leads_to_this_machine_is_not_connected_to`
//! - `x402-std/src/bin/x402/mcp/agent/reach.rs::rights_are_not_lent_to_strangers`
//!
//! # Sellers that write to the terminal
//!
//! A body, a reason or an offer has control sequences in it: they fill the clipboard, forge the line that
//! says what was paid, or hide the true one. Marks of direction and letters that cannot be seen do the same
//! to whoever reads.
//!
//! **Here.** The command writes such characters as `\uXXXX`: in JSON always, where that is the same JSON,
//! on stderr always, and in a body that goes to a terminal, with bytes that are no text as `\xNN`. The line
//! that says what was paid begins with a reset. A body that goes to a file or a pipe is what was sent.
//!
//! **Left to you.** What you do with that file: a pager or `cat` shows it as it is. Letters that look like
//! others are not marked.
//!
//! **Shown by:**
//! - `x402-std/tests/pay.rs::nothing_a_seller_says_steers_a_terminal`
//! - `x402-std/src/bin/x402/shown.rs::what_steers_a_terminal_or_hides_words_is_escaped`
//! - `x402-std/src/bin/x402/shown.rs::a_body_in_pieces_is_shown_as_in_one`
//!
//! # Files that others have a hand in
//!
//! A key that every user of a machine can read, or a budget, claims or a secret that somebody else made
//! before with rights for all: whoever can write them makes a buyer forget, or a seller.
//!
//! **Here.** A key file that others can read or write is refused (one that a facilitator's configuration
//! names may be readable, as containers mount secrets), and so is a file of a budget or of claims
//! that others can write, that belongs to somebody else, or that lies where everybody can replace it
//! ([`exposed`](crate::exposed)). The error says what to do. Files that are made here are their owner's.
//!
//! **Left to you.** Access lists and network drives, which have rights of their own; owners on other systems
//! than Linux; whoever is the machine's owner.
//!
//! **Shown by:**
//! - `x402-std/tests/pay.rs::files_that_others_have_a_hand_in_are_refused`
//! - `x402-std/src/exposed.rs::files_that_others_have_a_hand_in_are_known`
//!
//! # Payees that cannot be meant
//!
//! An offer pays the zero address, the token's own contract, the buyer, or an address with a mistyped
//! letter. The money is lost, or proves a payment that cost nothing.
//!
//! **Here.** Wallets do not pay such offers ([`Decline::NoPayee`](x402_core::buyer::Decline::NoPayee)): on
//! EVM networks the zero address, the token, the payer, and mixed case that is not EIP-55's checksum; on
//! Solana the system program, the token programs, the mint and the payer. Nothing is signed for them where
//! the policy is not asked either, but for the checksum, which is looked at in the choice.
//!
//! **Left to you.** Other addresses that nobody has a key for, and token accounts given for their owners.
//!
//! **Shown by:**
//! - `x402-std/tests/client.rs::a_payee_that_cannot_be_meant_is_not_paid`
//!
//! # Budgets that forget
//!
//! A clock that jumps ahead and is set right again, or a row of the budget's file that is damaged, makes
//! room for payments that were made already, or hides what was bought.
//!
//! **Here.** What was added up while the clock was ahead still counts for the day that it is then; a table
//! in memory adds up before it forgets. A damaged row hides no other: the history goes on without it, and
//! the log names its id. Its purchase is not made again, and where its amount cannot be read, nothing more
//! is bought under a limit until somebody has corrected it.
//!
//! **Left to you.** After such a jump a day's limit can be tighter for a day than it must be. A file that is
//! deleted forgets all.
//!
//! **Shown by:**
//! - `x402-std/tests/budget.rs::a_clock_that_was_ahead_makes_no_room`
//! - `x402-core/src/budget.rs::a_clock_that_was_ahead_makes_no_room`
//! - `x402-std/tests/budget.rs::a_row_that_cannot_be_read_hides_no_other_and_makes_no_room`
//!
//! # Payments over plain http
//!
//! Over plain http, whoever is on the way reads the payment and presents it first, or changes who is
//! paid in the challenge. A proxy that the environment names is on the way too.
//!
//! **Here.** A payment goes over https, or to this machine by its loopback address or as `localhost`;
//! to any other host over plain http only if it is
//! [named](crate::buyer::client::HttpTransport::with_plain_http_hosts), by `--http-host` of `x402 pay` or
//! `--host http://HOST` of `x402 mcp`. It is refused before anything is signed. This machine is asked
//! without a proxy.
//!
//! **Left to you.** Which hosts to name. Where a proxy is set, it sees what goes to named hosts. Over
//! MCP, the connection is yours.
//!
//! **Shown by:**
//! - `x402-std/tests/client.rs::plain_http_is_for_this_machine_and_hosts_that_are_named`
//! - `x402-std/tests/pay.rs::nothing_is_signed_over_plain_http_to_others`
//! - `x402-std/tests/pay.rs::no_proxy_is_used_for_this_machine`
//!
//! # Limits that never bind
//!
//! A person writes `host api.example.com:443`, `localhost.`, `127.1` or `*.example.com`. The limit is
//! taken, no payment ever falls under it, and the model spends without it.
//!
//! **Here.** One function reads a host for limits, for allow-lists and for `--host`
//! ([`host`](crate::buyer::budget::host)). Letter case, a final dot, and the ports 80 and 443 make no difference,
//! in what is written and in what is asked. A wildcard, another spelling of an IP address, a percent sign
//! and letters beyond ASCII are refused with a word on how to write it.
//!
//! **Left to you.** A name is not its address: a limit for one does not bind the other.
//!
//! **Shown by:**
//! - `x402-std/tests/client.rs::a_limit_for_a_host_binds_or_is_refused`
//! - `x402-std/src/buyer/budget/host.rs::hosts_are_read_as_urls_have_them_or_refused`
//! - `x402-core/src/budget.rs::a_host_is_one_in_every_spelling`
//!
//! # Agents that spend too much
//!
//! An agent pays whatever is asked: once too much, many times a little (SOLMAL, vector 6), again
//! for what it has paid, or along a redirect to somebody else. arXiv 2604.11430 puts policies in
//! front of agents for the same reason.
//!
//! **Here.** [`Policy`](crate::buyer::Policy) has a most for one payment, one dollar unless set,
//! and [limits](crate::buyer::budget) for a day and for ever, of each host and payee, in money and in
//! tokens. What fits is reserved, on the disk if the budget is there, before anything is signed, in
//! one step with the look at what was spent: whoever asks at the same time, in however many
//! processes, and whatever is killed. What was signed counts whatever the seller says, since he
//! has it. A purchase is signed for at most once, and one with an [id](crate::buyer::PurchaseOptions::id) never
//! again, after a crash either: the same payment is presented. A challenge in answer to a payment is
//! not paid; nor is one that asks for more than was
//! [quoted](crate::buyer::PurchaseOptions::quoted). Redirects are answers. The unit of money is a known
//! stablecoin's; amounts in anything else are not weighed, and not paid. Above a threshold somebody
//! [is asked](crate::buyer::Policy::ask_above).
//!
//! **Left to you.** Limits for each host count each name, and whoever has a domain has as many names as
//! they like; payees are free too. So have a limit of all, which `x402 mcp` has in any case. Give an agent a
//! key with no more on it than it may lose: what it may spend by its
//! budget, it can be talked into spending. Whoever can write the budget's file can make it forget. A
//! seller's word can make a second purchase look needed while the first payment is still good: see
//! [`BuyError::Refused`](crate::buyer::BuyError::Refused). A refused payment stays counted, though it
//! may have expired unused: a seller that refuses uses up what an agent may spend there, so have a
//! limit for each host.
//!
//! **Shown by:**
//! - `x402-std/tests/budget.rs::two_processes_with_two_hundred_tasks_spend_all_and_not_a_unit_more`
//! - `x402-std/tests/budget.rs::what_a_killed_process_signed_counts`
//! - `x402-std/tests/budget.rs::an_id_is_paid_for_once`
//! - `x402-std/tests/budget.rs::what_was_quoted_is_paid_and_no_more`
//! - `x402-std/tests/client.rs::a_budget_holds_over_many_payments`
//! - `x402-std/tests/attacks.rs::a_budget_holds_for_all_who_spend_at_once`
//! - `x402-std/tests/client.rs::echoes_what_it_was_sent_and_pays_once`
//! - `x402-std/tests/client.rs::pending_is_presented_again_byte_for_byte`
//! - `x402-std/tests/client.rs::a_payment_is_never_redirected`
//! - `x402-std/tests/client.rs::a_payment_without_an_answer_is_handed_back`
//! - `x402-std/tests/cli.rs::pays_once_and_only_what_it_may`
//!
//! # Steered choices: order of offers, look-alikes
//!
//! What sellers say of themselves decides whom an agent pays: arXiv 2605.11781 (attack IV) moves
//! the choice of a server by its description. In one challenge it is the order of the offers, a
//! token called USDC that is none, an address that differs in one digit.
//!
//! **Here.** Descriptions, names and icons are read by nobody here. A token is known by network and
//! address ([`x402_evm::assets`], [`x402_svm::assets`]), and one that goes by another name than its
//! own is not paid. Networks, tokens and payees can be [listed](crate::buyer::Policy). The first
//! offer within the policy is taken, one that settles after the answer before one that settles
//! first.
//!
//! **Left to you.** The first, not the cheapest: a dearer offer in front is paid if it is within
//! [`max`](crate::buyer::Policy::max), so set it to what the thing is worth. Whether the seller is
//! who it says is for TLS and [`payees`](crate::buyer::Policy::payees). Which server to ask is the
//! agent's.
//!
//! **Shown by:**
//! - `x402-std/tests/attacks.rs::look_alikes_are_declined`
//! - `x402-std/tests/attacks.rs::the_order_of_offers_does_not_lift_the_limit`
//! - `x402-std/tests/client.rs::declines_what_the_policy_does_not_allow`
//! - `x402-evm/tests/vectors.rs::negative_cases_give_the_official_reason`
//!
//! # Header bombs
//!
//! A header of megabytes, JSON a thousand levels deep, thousands of keys or offers, the same header
//! a hundred times: work for nothing, or a stack that ends.
//!
//! **Here.** Every cap is in [`x402_core::limits`], for what sellers, buyers and facilitators send
//! alike; the core's readers neither recurse nor allocate. The search for repeated keys has a price
//! limit. Bodies of answers are read up to the same bound, and no more. A bomb is a 400, and nobody
//! is asked about it.
//!
//! **Left to you.** The HTTP server's own limits come first; keep its header limit above what your
//! buyers send, or they get its 431. Requests for a second are yours to count.
//!
//! **Shown by:**
//! - `x402-std/tests/attacks.rs::headers_too_long_cost_a_400_and_nothing_else`
//! - `x402-std/tests/attacks.rs::answers_too_long_are_not_paid_for`
//! - `x402-std/tests/client.rs::unreadable_challenges_are_errors_and_nothing_is_signed`
//! - `x402-std/tests/cli.rs::serve_survives_garbage`
//! - `x402-core/tests/hostile.rs::length`
//! - `x402-core/tests/hostile.rs::depth`
//! - `x402-core/tests/hostile.rs::offers_and_kinds`
//! - `x402-core/tests/hostile.rs::looking_for_duplicates_has_a_price_limit`
//! - `x402-svm/tests/exact.rs::bytes_bound_the_transaction`
//!
//! # Pages in browsers
//!
//! A person who opens a paid URL gets a page, and the page has a wallet sign. Descriptions, names, URLs and
//! refusals in it are words of strangers. A script among them could ask the wallet for anything. A page inside a
//! frame could be clicked blindly. A payment that stays in the browser could be presented for something else.
//!
//! **Here.** Every such text is data: JSON whose `<`, `>` and `&` are escapes, put into the document as text. The
//! policy admits one script, by its hash, and no frame around the page. The signed payment is in cookies of its
//! path, which the browser sends along from the same site only. Their name is a digest of method, URL and body, so
//! no other request presents them. Handlers do not see them. A payment in cookies passes the same gate and the same
//! claim as one in a header. It is good for one answer, which is kept for ten minutes.
//!
//! **Left to you.** A script of your own on the same path can read these cookies and take the answer: it is your
//! page. Serve over https. Several processes need connections that stick to one of them, because an answer is kept
//! by the process that made it. Without that the page shows the answer itself, and HTML without its scripts.
//!
//! **Shown by:**
//! - `x402-std/tests/server.rs::people_get_a_page_and_programs_get_json`
//! - `x402-std/tests/server.rs::a_payment_in_cookies_is_good_for_one_answer_again`
//! - `x402-std/tests/server.rs::payments_in_cookies_are_hidden_from_handlers`
//! - `x402-std/src/page.rs::texts_from_outside_stay_texts`
//! - `x402-std/src/seller/server/person.rs::payments_in_cookies_are_read_in_order_and_hidden`
//!
//! # Sessions without an end
//!
//! A client of an MCP server over HTTP introduces itself, and the server keeps a session for it. Whoever
//! only introduces itself, thousands of times a second, fills the memory without a payment.
//!
//! **Here.** `x402 mcp --upstream --listen` keeps no sessions: it says nothing unasked, so each request
//! stands for itself. Clients of every protocol version are served so. A client that hangs up gives up
//! its call, and the place that it took.
//!
//! **Left to you.** Servers of your own that sell tools with [`PaidTools`](crate::mcp::PaidTools) choose how rmcp
//! keeps sessions; its default keeps as many as are asked for, for five minutes each. A number of
//! requests at once is theirs too: here it is that of connections.
//!
//! **Shown by:**
//! - `x402-std/tests/mcp.rs::introductions_fill_no_memory`
//! - `x402-std/tests/mcp.rs::a_client_that_hangs_up_gives_its_call_up`
//! - `x402-std/tests/mcp.rs::sells_the_tools_of_a_url_over_http`
//!
//! # One network that takes the others with it
//!
//! A probe that asks for everything at once is 503 as soon as one network's nodes are down, or one
//! account has no gas: a balancer then takes all networks out of service. Whoever can drain one account
//! stops every seller.
//!
//! **Here.** `/readyz` of `x402 facilitator` is 200 while one network and the store are there, and says of
//! each network whether it is ready and why not. `?network=` asks about one. All are asked at once, with
//! a deadline, and found out every five seconds at most. The gauge `x402_ready` has the same.
//!
//! **Left to you.** Alarms: a network that is not ready is a warning in the log and a 0 in the gauge.
//!
//! **Shown by:**
//! - `x402-std/tests/config.rs::readiness_is_each_networks_own`
//! - `x402-std/tests/config.rs::a_wrong_chain_is_refused_at_the_start`
//! - `x402-std/tests/config.rs::serves_what_operators_ask_for`
//!
//! # Secrets in logs, and what a payment tells
//!
//! A signed payment in a log is money for whoever reads it first; a key is all of it. And a payment
//! tells more than it must: arXiv 2604.11430 finds personal data in the URLs and descriptions that
//! go to seller and facilitator with every payment.
//!
//! **Here.** No key, and no signature of a payment, is in `Debug`, in an error or in an event of
//! `tracing`, nor in what the command says of arguments it does not understand. The header of a
//! payment is marked sensitive. Errors of HTTP leave the URL out. A receipt has none of a
//! facilitator's explanations. The command wipes what it reads of a key file.
//!
//! **Left to you.** A key in an environment variable stays in the environment. Proxies and servers that
//! log headers: `PAYMENT-SIGNATURE` and `X-PAYMENT` are secrets until they expire.
//! [`Offers::resource`](crate::seller::Offers::resource) is filled with the whole URL, query included, if
//! it is empty; buyers send it back, and the facilitator gets it. Set a URL without personal data.
//! Nothing is filtered.
//!
//! **Shown by:**
//! - `x402-std/tests/attacks.rs::logs_hold_no_payment`
//! - `x402-std/tests/messages.rs::debug_shows_no_payment`
//! - `x402-std/tests/solana.rs::nothing_of_keys_or_payments_is_shown`
//! - `x402-core/tests/hostile.rs::debug_shows_no_signature`
//! - `x402-std/tests/client.rs::a_payment_without_an_answer_is_handed_back`
//! - `x402-std/tests/cli.rs::secrets_in_the_wrong_place_are_not_repeated`
//! - `x402-std/tests/pay.rs::the_text_of_a_key_is_wiped`
//! - `x402-std/tests/server.rs::receipts_hold_what_is_the_buyers_to_know`
//!
//! # Not built yet
//!
//! | part | until then |
//! |---|---|
//! | Permit2, `upto`, `escrow` | refused |
//!
//! # Sources
//!
//! - arXiv 2605.11781, *Five Attacks on x402 Agentic Payment Protocol*, May 2026.
//! - arXiv 2605.30998, *Free-Riding the Agentic Web*, May 2026.
//! - arXiv 2604.11430, *Hardening x402: PII-Safe Agentic Payments*, April 2026.
//! - GHSA-3j63-5h8p-gf7c, August 2025; GHSA-qr2g-p6q7-w82m, March 2026.
//! - Cantina, reviews of the x402 contracts:
//!   cantina.xyz/portfolio/a0823732-a094-404d-8364-56380cda636e; in x402-foundation/x402,
//!   `contracts/evm/audits/cantina_x402_feb2026.pdf` and two later ones.
//! - x402-foundation/x402, pull requests 1265, 1468, 2478, 2480 and 3120.
//! - SOLMAL, articles on x402's attack surface, blog.skill-issue.dev, March 2026.
//! - EIP-3009, EIP-2, ERC-1271, ERC-6492; `scheme_exact_evm.md` and `scheme_exact_svm.md`.
