//! Published attacks on x402, and the defence of this code against each.
//!
//! In the manner of rustls' manual, each section describes the attack, the defence here, and the part left to
//! you, the operator. It ends with the tests that fail if the defence is taken out, as `file::function`. A
//! missing defence is named in its section, and again [at the end](#not-built-yet).
//!
//! # Replay at other endpoints and servers
//!
//! A signed payment is sent again: to the same route, to another one, to another server of the seller's, or
//! after a restart. arXiv 2605.11781 (attack II) got many grants for one payment where a server kept no
//! record of its own. The chain sees only one transfer in any case.
//!
//! **Here.** A payment is claimed before anything is done for it. All its presentations share one key
//! ([`Payment::claim_key`](x402_core::Payment::claim_key)): chain, token, payer and nonce on EVM networks,
//! the hash of the message on Solana. Spelling, protocol version, signature bytes and URL are not part of the
//! key. Servers that share a [`ClaimStore`](crate::store::ClaimStore) serve a payment once. A claim is kept
//! [while the payment can settle](x402_core::claim::ClaimState::is_forgettable). A full store refuses new
//! payments. A payment must accept an offer of [this seller's](x402_core::seller::Seller::admit), and the
//! signed content must pay it.
//!
//! **Left to you.** [`MemoryStore`](crate::store::MemoryStore) belongs to one process, and forgets at exit.
//! Processes that sell for one payee need one store, [in SQLite or Redis](crate::store). Without it, only the
//! facilitator and the chain stand between them.
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
//! The same payment arrives many times before the first settlement is final. On Solana all these settlements
//! are the same transaction, so each may get the answer "success". arXiv 2605.30998 calls this the
//! duplicate-settlement race. The official SDKs added a cache of transactions in flight (pull request
//! x402-foundation/x402#1468).
//!
//! **Here.** Claims move by compare-and-swap ([`ClaimStore`](crate::store::ClaimStore)). Of all requests that
//! present a payment, one finds it new, and one can move it to settled. A process runs one settlement of a
//! payment at a time. A presentation that finds another at work is answered `busy` and costs nothing.
//! [`LocalFacilitator`](crate::facilitator::LocalFacilitator) keeps claims of its own, so sellers that know
//! nothing of each other get one "success" between them. A caller that lost this answer gets it again only
//! with the secret of its first request
//! ([`Facilitator::settle_for`](crate::facilitator::Facilitator::settle_for)).
//!
//! **Left to you.** Two sellers without a shared store both believe a facilitator over HTTP that answers
//! "success" twice. Share the store. The processes of one facilitator need a shared store too.
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
//! An EIP-3009 signature covers a transfer: payer, payee, amount, time, nonce. It does not name the resource.
//! So a payment for one resource is as good for any other of the same price and payee. arXiv 2605.30998 calls
//! this cross-resource substitution.
//!
//! **Here.** By default a payment buys, once, any resource that the seller offers on the same terms. A seller
//! can ask for more:
//! - [`Binding::one_url`](crate::seller::Binding::one_url): a payment that is pending for one URL cannot be
//!   resumed for another.
//! - [`Binding::must_name_url`](crate::seller::Binding::must_name_url): a payment of version 2 must name the
//!   URL of the challenge. It guards against mix-ups only, because any presenter of a payment can write that
//!   URL.
//! - [`Offers::with_memo`](crate::seller::Offers::with_memo): on Solana, where the memo is signed too, the
//!   memo must be one that only the seller's secret gives for method, path and offer.
//!
//! **Left to you.** On EVM networks the payee is the only signed field that can distinguish resources: give
//! each resource its own. Query, body and headers are not tied to the payment. If an answer depends on them,
//! make all its variants cost the same. Inside a router that strips a prefix (axum's `nest`), the layer and
//! all three bindings see the path without it. Give the prefix in
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
//! A shared cache in front of the seller keeps a paid answer and gives it to the next client. Or it gives one
//! buyer's challenge to another. This is attack III of arXiv 2605.11781.
//!
//! **Here.** A challenge and every refusal have `Cache-Control: no-store`. A paid answer has `private`,
//! whatever else the handler sets ([`CACHE_CHALLENGE`](x402_core::http::CACHE_CHALLENGE),
//! [`CACHE_PAID`](x402_core::http::CACHE_PAID)).
//!
//! Contrary directives of a handler are removed, both for shared caches at large and for those of content
//! networks (`CDN-Cache-Control`, `Surrogate-Control`).
//!
//! **Left to you.** Set no rules for paid routes in a cache of your own. A URL that is free for some clients
//! and paid by others
//! ([`PaymentLayer::with_offers_for`](crate::seller::server::PaymentLayer::with_offers_for)) needs a `Vary`
//! or `no-store` of the handler's.
//!
//! **Shown by:**
//! - `x402-std/tests/attacks.rs::paid_bodies_are_private_whatever_the_handler_says`
//! - `x402-std/tests/attacks.rs::answers_that_cost_nothing_are_not_kept_either`
//! - `x402-std/tests/server.rs::unpaid_gets_the_challenge_in_header_and_body`
//! - `x402-std/tests/server.rs::one_payment_is_served_once`
//!
//! # Encoded paths
//!
//! The middleware compares paths as they were sent, and the router compares them decoded. So `/we%61ther` is
//! free, and is the same resource. GHSA-3j63-5h8p-gf7c reports this for `x402`, `x402-express`, `x402-hono`
//! and `x402-next` before 0.5.2. The fix decodes a path before it compares it.
//!
//! **Here.** No path is compared. The price belongs to the route:
//! [`PaymentLayer`](crate::seller::server::PaymentLayer) is a layer around the handler. Every request to the
//! handler passes the layer, by any path and any method. The command `x402 serve` charges for every path. It
//! refuses paths that lead out of its upstream's.
//!
//! **Left to you.** [`PaymentLayer::with_offers_for`](crate::seller::server::PaymentLayer::with_offers_for)
//! sees the path as it was sent. A function that prices by path must decode it as its handler does. Let an
//! unknown path cost the most rather than nothing. Rewriting after the layer undoes it.
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
//! `x402 serve --upstream http://host/api` sells the paths below `/api`. `..%2f`, `..;/` and `%252e%252e` are
//! harmless to a reader that reads a path once. They lead out of `/api` where a server decodes first.
//! `CONNECT` asks for a tunnel. `X-Forwarded-For` lets the buyer choose an address.
//!
//! **Here.** A path is decoded until nothing changes. It is refused with 400 if a segment is only dots and
//! blanks, or if a control character or invalid UTF-8 is in the path. It is refused too if it still changes
//! after eight rounds. Segments end at `/`, `\` and `;`, and at similar characters that servers take for
//! these. Plain `.` and `..` pass unresolved if the path stays inside and nothing else in it can be read as a
//! slash or a dot. The path is sent as it was checked. Methods other than `GET`, `HEAD`, `POST`, `PUT`,
//! `PATCH`, `DELETE` and `OPTIONS` are answered 405. Both checks come before the payment. The buyer's
//! `X-Forwarded-*`, `Forwarded`, `Via`, `X-Real-IP`, `X-Original-URL` and similar headers are dropped in any
//! spelling. The true address, host and protocol are sent instead. An answer that is too long to be withheld
//! until settlement becomes a 502 with an explanation, and is free.
//!
//! **Left to you.** Make sure that nobody else can reach the server behind: the proxy guards only its own
//! door. Behind a proxy of your own, the address that is sent on is that proxy's.
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
//! A check of the balance reserves nothing. Between check and settlement the buyer moves the money away, or
//! has many payments checked against one balance at once. arXiv 2605.30998 describes the latter for
//! allowances (allowance overdraft). The work is done, and the settlement fails.
//!
//! **Here.** The answer, headers included, is withheld until the payment is settled, up to
//! [`BODY_LIMIT`](crate::seller::server::BODY_LIMIT). It is sent only if the payment settles. With the flow
//! [`upfront`](crate::message::PaymentRequirements::upfront), the work begins only after the money has moved.
//!
//! **Left to you.** With the default flow the work itself may be in vain, and so may its side effects. Offer
//! `upfront` where the work costs more than a request may cost you. Allowances play no part: Permit2 and
//! `upto` are refused.
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
//! The resource is given when the transaction is sent. Then the transaction fails, is never mined, or is
//! undone by a reorganisation. This is attack I-A of arXiv 2605.11781.
//!
//! **Here.** A facilitator's "success" counts only without contradictions. It must name a transaction of the
//! network's form. Another network, another payer, a smaller amount or a reason for an error contradicts it.
//! So does a transaction that settled another payment here. Every unclear answer (none, pending, a fault,
//! "failed" without a transaction) becomes `settlement_pending`, or `unknown_settlement_error` before a
//! transaction is known. Then nothing is served, and the claim stays
//! ([`ClaimState`](x402_core::claim::ClaimState)). The same payment, presented again, finds the outcome. A
//! reason of the facilitator's own is a refusal only if it comes without a transaction or a fault.
//!
//! A facilitator of this library writes down a transaction before it sends it, and ignores a node's answer to
//! the sending. On EVM chains, a payment is settled by a receipt with status 1 **and** the token's log of the
//! very transfer. Their block must be as deep as
//! [asked](crate::facilitator::ledger::EvmChain::confirmations), and still be the one at its height. On
//! Solana, a payment is settled by the very message at the [commitment
//! asked](crate::facilitator::ledger::SvmSettings::commitment), without an error and with its effect. A
//! payment has failed only if it can never move the money any more. This takes [more
//! blocks](crate::facilitator::ledger::EvmChain::failed_after) than settled does, and on Solana finality.
//! Every other payment is pending. With several nodes, as many
//! [witnesses](crate::facilitator::ledger::EvmChain::witnesses) as asked must agree.
//!
//! **Left to you.** You decide, for the goods you sell, how deep is deep enough, and how many nodes may lie
//! alike. With another facilitator, all this is its decision. Nobody takes money back for a reorganisation
//! deeper than the wait.
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
//! Anybody who sees an EIP-3009 authorization can send it (EIP-3009 itself warns contracts of that). The
//! facilitator then finds the nonce used. The payee has the money, and the buyer is asked to pay again. This
//! is attack I-B of arXiv 2605.11781. Cantina's review of the x402 contracts has a related attack on `upto`:
//! anybody could settle for another amount, because the signature did not name the settler.
//!
//! **Here.** "Nonce already used" and "duplicate" are never a failure once a payment was admitted. The answer
//! is `settlement_pending` or `unknown_settlement_error`, the claim stays, and the buyer has no reason to
//! sign again. Only `exact` is accepted, where the amount is signed. `upto` is refused.
//!
//! A facilitator of this library looks for the account that used the authorization. If the account is one of
//! its own, the payment is settled. If it is a stranger's, the payment stays pending with a record. The
//! stranger may be another facilitator, which has the same payment served elsewhere. An operator can accept
//! [strangers' settlements](crate::facilitator::ledger::EvmChain::settled_by_others) as its own. A transfer
//! counts only if the token logs it right after the use of this very authorization.
//!
//! **Left to you.** You decide whether to accept strangers' settlements: do, if no other facilitator works
//! for your sellers. Otherwise such a buyer stays unserved until somebody looks at the record. A payment that
//! somebody else sent before its first presentation here is refused as used. Give buyers somebody to ask.
//!
//! **Shown by:**
//! - `x402-std/tests/attacks.rs::a_settlement_sent_by_another_is_not_a_failure`
//! - `x402-std/tests/server.rs::an_echo_of_ones_own_broadcast_is_not_a_failure`
//! - `x402-std/tests/client.rs::declines_what_the_policy_does_not_allow`
//!
//! # Denial of settlement
//!
//! The buyer makes the settlement fail after the work, or hangs up in the middle. Or the buyer asks for work
//! that never ends, or fills the seller's memory with payments that never land. arXiv 2605.30998 calls this
//! denial of settlement. A payment costs its payer nothing until it is settled.
//!
//! **Here.** Work is done in the connection's own future. It ends with the connection, and no later than its
//! payment could be settled. The payment is given back then. Only a settlement that has begun runs to its end
//! after a hang-up, and is recorded. The body of a request is read before anything is done for its payment,
//! within [`REQUEST_LIMIT`](crate::seller::server::REQUEST_LIMIT) and 30 seconds. A layer works on
//! [`PAYMENTS_AT_ONCE`](crate::seller::server::PAYMENTS_AT_ONCE), and a seller on
//! [`PAYER_AT_ONCE`](crate::seller::PAYER_AT_ONCE) of one payer. Above these, and with a full store, the
//! answer is 503.
//!
//! **Left to you.** A handler's answer of 400 or above is sent and is free: put nothing of value into it.
//! Such a payment is whole and may be presented again, which costs you the work again. Or offer `upfront`. A
//! handler that must not be stopped halfway spawns its own task. Nothing here defends against volume.
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
//! The payment settles, and the answer does not arrive. A proxy gives up after 30 seconds, a phone is in a
//! tunnel, or a server is killed. The buyer has paid, and the same payment is a duplicate.
//!
//! **Here.** The answer is kept for ten minutes, in 64 MB for all. The same payment for the same request gets
//! the same bytes again if the connection ended before all was written, or broke after it. A request is its
//! method, URL and body (see [`RequestDigest`](crate::seller::RequestDigest)). The claim becomes `delivered`
//! before the last 64 KB are written. A process that finds the claim taken over by another ends the body
//! there, and gives nothing of its kept answer. After a restart, the work of a settled and undelivered
//! payment is done once more, for the same request, by one process. This happens at once if no other process
//! uses the file of claims, else after [`DELIVERY_SECONDS`](crate::seller::DELIVERY_SECONDS). If that work
//! fails, the buyer may ask for it again. `x402 serve` waits for settlements when it is asked to stop.
//!
//! **Left to you.** With claims in memory nothing outlives the process. Work that must not be done twice
//! needs a key of its own: the payment's, say. Anybody with the payment and the whole request gets the kept
//! answer: use TLS. With `upfront` the body is streamed and not kept. It counts as delivered when the handler
//! has answered below 400. A process that is killed while the last 64 KB are on their way loses the answer.
//! So does one whose connection still holds bytes back for a slow reader. A client that reads slowly on
//! purpose may get most of a long answer from one process and all of it from another.
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
//! A facilitator dies after it has sent a payment, or before. Or a seller loses the facilitator's answer. The
//! money has moved, or may, and the claim is pending for as long as nobody asks.
//!
//! **Here.** [`Seller::keep`](crate::seller::Seller::keep) and
//! [`LocalFacilitator::keep`](crate::facilitator::LocalFacilitator::keep) finish pending payments, at the
//! start and all the time. The commands run them. The request and the signed transaction are kept beside the
//! claim. So a payment that was written down but not sent is sent, or another transaction in its place. Of
//! the processes that share a store, one works on a payment at a time, and a hanging one does not delay the
//! others. An unknown transaction that blocks an account is replaced. A claim for which nothing was sent ends
//! with its lease, and gives the reason for its delay.
//!
//! **Left to you.** Spawn both in a program of your own. A store of your own finishes nothing unless it keeps
//! records ([`ClaimStore::pending`](crate::store::ClaimStore::pending)).
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
//! A claim is kept until its payment can no longer settle, and the buyer chooses that time: `validBefore` may
//! be 2^256-1. Or a facilitator is busy for minutes, and the claims of unsent payments stay for a day.
//!
//! **Here.** The gate limits the validity of a payment to its offer's time-out, of at most a week, and
//! [`VALIDITY_SLACK_SECONDS`](x402_evm::VALIDITY_SLACK_SECONDS). A claim without a known transaction lives
//! ten minutes beyond its payment. A facilitator's `busy` without a transaction gives the claim back. Keepers
//! warn when a store is four fifths full; `x402_store` shows it. A full store in memory does not look at all
//! claims for each payment.
//!
//! **Left to you.** Provide a store that is large enough for a time-out's sales.
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
//! A payer makes the facilitator's transactions fail. An account with code (a contract, or EIP-7702) agrees
//! when it is asked and loops when it is paid for. One balance pays for many payments at once. An
//! authorization ends before the next block.
//!
//! **Here.** Accounts with code are refused unless
//! [`smart_wallets`](crate::facilitator::ledger::EvmChain::smart_wallets) are accepted, which the service
//! does not do by default. Accepted accounts are simulated with the fees that will be paid, and have few of
//! the places. Such an account rests for an hour after a failure, and its code rests after two. Above
//! [`max_gas_lost`](crate::facilitator::ledger::EvmChain::max_gas_lost) all of them rest, and keys go on. A
//! key whose transaction failed rests for half a minute, then for longer. A payment is sent only if the
//! balance covers it with all of the payer's payments on their way. It must also be valid for two more
//! blocks. `x402_gas_lost` shows the loss.
//!
//! **Left to you.** You decide whether to accept accounts with code: each new one can cost you one
//! transaction, up to the ceiling. Processes that share a store do not know of each other's payments on their
//! way. By default only known tokens are accepted, because another token's code could do the same. Set the
//! price of the chain's coin ([`coin_price`](crate::facilitator::ledger::EvmChain::coin_price)) against
//! payments that cost more than they bring.
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
//! Two readers of one message see two payments. Examples are an amount as `1e4`, `010000` or `10000`, base64
//! with stray bits, a key given twice, and a name with a look-alike letter. A seller that checks one payment
//! and settles the other is robbed. The SOLMAL articles on x402 (blog.skill-issue.dev) list amounts as their
//! vector 9.
//!
//! **Here.** One reader ([`x402_core::json`]) reads everything that anybody sends, over bytes. Amounts have
//! one grammar ([`Amount::parse`](x402_core::Amount::parse)), and base64 has one spelling
//! ([`x402_core::base64`]). Addresses, signatures and base58 have one length and alphabet. A repeated key is
//! refused however it is escaped, in objects of extensions too. A second payment header and a payment in the
//! other version's header are refused as well. Text is compared by its characters and never normalised. Only
//! hexadecimal addresses are the same in any letter case. Money is counted without floats. Malformed input is
//! never repaired: it is a 400 with a code. Solana's messages are read byte for byte as the validators read
//! them.
//!
//! **Left to you.** If you read `extra` and extensions yourself, read [`RawJson`](x402_core::json::RawJson).
//! Do not read the bytes again with another library.
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
//! A verifier accepts a facilitator's look at a transaction, or its own, in place of a signature. It is then
//! paid with nothing. GHSA-qr2g-p6q7-w82m concerns facilitators on Solana (`@x402/svm` before 2.6.0, PyPI
//! `x402` before 2.3.0, the Go module before 2.5.0). Third parties describe it as payment signatures that
//! were not verified. A signature with a second valid spelling (`s` or its negative) is a second payment to a
//! seller that goes by its bytes.
//!
//! **Here.** [`gate::verify`](x402_core::gate::verify) recovers or verifies every signature here, before any
//! facilitator is asked. The facilitator's "valid" does not replace it. Only the gate makes a
//! [`Verified`](x402_core::gate::Verified). A
//! [`RecoverableSignature`](x402_core::crypto::RecoverableSignature) has `s` in the lower half, 65 bytes and
//! one of four `v`; other bytes make none. Ed25519 is verified strictly. Claims do not go by signatures.
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
//! An ERC-6492 signature brings a contract to call before the signature is checked. Official facilitators
//! called any contract that a payment named, from an account with funds (x402-foundation/x402#2480). They
//! took the signature inside as good if the wallet did not exist yet (x402-foundation/x402#1265).
//!
//! **Here.** By default a signature must have 65 bytes, and no contract is ever called. A facilitator that
//! [accepts smart wallets](crate::scheme::ExactOnEvm::smart_wallets) asks the contract at the payer's address
//! (ERC-1271). If there is a contract, it alone decides. A signature that it rejects is refused before a
//! transaction is made, and again whenever somebody asks for an outcome. If there is no contract yet, the
//! factory must be [listed](crate::facilitator::ledger::EvmChain::factories). The list is empty by default.
//! Deployment and transfer are one transaction, which is simulated first. So a wallet is deployed at your
//! cost only if it pays. On Solana, programs other than the two of tokens cannot pay.
//!
//! **Left to you.** You decide which factories to list: they run the payer's calls with your gas. A seller
//! that accepts such payments depends on its facilitator for the signer.
//!
//! **Shown by:**
//! - `x402-std/tests/attacks.rs::forged_signatures_are_refused_whoever_vouches`
//! - `x402-evm/tests/vectors.rs::recorded_payments_verify_and_mutations_do_not`
//! - `x402-svm/tests/exact.rs::transfer_accounts_and_instructions`
//!
//! # What a fee payer can lose on Solana
//!
//! The buyer writes the transaction, and the facilitator signs it as fee payer:
//! - **Drain.** An instruction that names the fee payer moves the fee payer's assets.
//! - **Injection.** The transaction has more instructions than the transfer: another transfer back, a program
//!   of the buyer's (SOLMAL, vector 2).
//! - **Burn.** The transaction has a high priority fee. The official cap on its price once did not work
//!   (x402-foundation/x402#2478). It also left 0.007 SOL a payment, because units had no cap (#3120).
//! - **Durable nonces.** A payment with a nonce account in place of a blockhash never expires, and outlives
//!   every memory of it.
//!
//! **Here.** [`ExactSvm`](x402_svm::ExactSvm) accepts limit, price, one transfer, and then only memos and
//! Lighthouse's assertions. The fee payer may be in no instruction's accounts, address tables included.
//! Address tables are refused unless somebody [resolves](crate::scheme::ExactOnSvm::resolve) them.
//! [`Limits`](x402_svm::Limits) caps units, price, their product and the signatures. A durable nonce must
//! come first, where the budget is, so it has no place. A facilitator signs with [its
//! own](crate::facilitator::ledger::Networks::signers) keys only, and for none of them as payer.
//! [`SvmLedger`](crate::facilitator::ledger::SvmLedger) has the transaction simulated unsigned, looks at its
//! cost for the fee payer, and signs after that. It adds up the payments on their way from each token
//! account: one balance pays for as many payments as it covers. A payer whose transaction failed on the chain
//! waits for 30 seconds, and twice as long each time after, up to an hour.
//!
//! **Left to you.** Within the limits, a stranger can still make you pay one fee for each of the stranger's
//! accounts (SOLMAL, vector 3). This takes money that is spent between simulation and execution: lower
//! [`Limits`](x402_svm::Limits). Processes do not share their knowledge of payments on their way.
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
//! A mint may keep a part of each transfer, or run a program of its issuer's with it. It may freeze accounts
//! from the start, or let somebody take tokens back. The amount transferred is then not the amount received
//! and kept.
//!
//! **Here.** A Token-2022 mint is accepted only if the library's table or the caller knows it
//! ([`ExactOnSvm::assets`](crate::scheme::ExactOnSvm::assets)). A mint with such an extension, or with an
//! unknown one, is never [safe](x402_svm::Mint::is_safe), whoever vouches for it.
//! [`Mint::parse`](x402_svm::Mint::parse) reads a mint's account. Buyers follow the same rule.
//!
//! **Left to you.** Read the mints that you vouch for from the cluster yourself. The table vouches for its
//! own mints, whose issuers could still use their powers. Only the chain knows the amount that arrived: see
//! [not built yet](#not-built-yet).
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
//! A seller that follows its facilitator's redirect asks a stranger whether it was paid. A seller that serves
//! while the facilitator is down is free for anybody who takes the facilitator down. A seller that believes
//! every answer serves on another network's transaction.
//!
//! **Here.** [`RemoteFacilitator`](crate::facilitator::RemoteFacilitator) is asked over TLS or on this
//! machine. It ignores redirects and the environment's proxies, and has bounds in time and size. Only a whole
//! answer with status 2xx can agree to anything ([`FacilitatorError`](crate::facilitator::FacilitatorError)).
//! A verification without one is 502, and a settlement that may have happened is pending. A "success" needs a
//! transaction and this payment's network. [`Offers::with_supported`](crate::seller::Offers::with_supported)
//! refuses offers that the facilitator does not settle. Its explanations do not reach the buyer.
//!
//! **Left to you.** "Success" with a transaction is believed. PyPI `x402` 2.25 reports it for Solana
//! transactions that failed on chain. Choose a facilitator that looks, or look yourself. If the facilitator
//! is unreachable at the start, the command `x402 serve` still makes its offers on EVM networks. It refuses
//! payments until the facilitator answers.
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
//! A facilitator pays for the work that others ask of it: gas, lamports, the code of a token. A page in a
//! browser on its host reaches it by a plain form, or by a name that it makes point there (DNS rebinding). A
//! hostile buyer reaches it through an honest seller, and chooses the priority fee.
//!
//! **Here.** An [`Acceptance`](crate::facilitator::Acceptance) names payees, tokens and a least amount. It is
//! applied to verifying and settling before a chain is asked. By default only known tokens are accepted.
//! [`Callers`](crate::facilitator::Callers) has bearer tokens, compared by their hashes, and the names of the
//! service. A body other than `application/json` and a page of another origin are refused in any case. The
//! command `x402 facilitator` answers to its own address and to `localhost`, probes included. It lets a
//! payment on Solana cost 30 000 lamports.
//!
//! **Left to you.** Without a token, everybody who reaches the service may use it. Without payees, it works
//! for every payee. The least amount is zero by default: set it above the cost of a settlement. TLS is a
//! proxy's, and the token is a secret in every request.
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
//! A seller answers a payment with an error, or with nothing of value, and with an invented receipt. The
//! receipt has no transaction, somebody else's payer, another network, or a smaller amount. A buyer that
//! believes it takes the purchase for done, and forgets the payment. The buyer then has no way left to get
//! the goods.
//!
//! **Here.** One function decides for every buyer whether a receipt proves the payment
//! ([`Paid::proof`](crate::buyer::Paid::proof)). The answer must be a success and no redirect. The receipt
//! must have no error beside its success, and a transaction id in the network's form. Its network, payer and
//! amount, where given, must be those of this payment. Anything else is a [`Doubt`](crate::buyer::Doubt). The
//! purchase then stays signed, and the payment is kept. A new order of the purchase presents the same
//! payment. `x402 pay` and `x402 mcp` report the doubt.
//!
//! **Left to you.** A receipt that fits is still only the seller's word. The chain knows whether the
//! transaction exists, and what it moved.
//!
//! **Shown by:**
//! - `x402-std/tests/client.rs::a_receipt_that_proves_nothing_ends_no_purchase`
//! - `x402-std/tests/client.rs::an_empty_amount_is_none`
//! - `x402-std/tests/pay.rs::a_receipt_that_proves_nothing_is_not_called_paid`
//! - `x402-std/tests/agent.rs::receipts_of_other_payments_are_said_to_be`
//!
//! # Agents that are sent to services of this machine
//!
//! A seller lists `DELETE http://127.0.0.1:2375/containers/db`. Or a text talks a model into asking the
//! router, a metadata service or a database behind the firewall. An agent that asks any URL does so with any
//! method, headers and body, and brings back the answer.
//!
//! **Here.** Without `--host`, `x402 mcp` asks https URLs at public addresses only. It judges by the address
//! of the connection, whatever the name. Other spellings of an address, and IPv6 addresses with an IPv4 one
//! inside, are judged alike. No proxy is used then, since a proxy would connect elsewhere. Names of this
//! machine and of private networks are refused by themselves, and listings that lead there are left out.
//! `--host NAME` allows https to that host, `--host http://NAME` plain http too, and `--host 127.0.0.1:4021`
//! a server on this machine. Headers that carry rights (`Authorization`, `Cookie`, `Origin`, `Proxy-*`) go to
//! named hosts only. `x402_quote` is marked destructive. It sends GET and HEAD to every allowed host, and
//! other methods to named hosts only.
//!
//! **Left to you.** A named host is trusted with every address of its name. Some public services grant rights
//! to your machine's address: they are reached as any other host. `--discover` is asked as written.
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
//! A body, a reason or an offer has control sequences in it. They fill the clipboard, forge the line that
//! reports the payment, or hide the true one. Marks of direction and invisible letters deceive a reader in
//! the same way.
//!
//! **Here.** The command writes such characters as `\uXXXX`: in JSON always, where that is the same JSON, and
//! on stderr always. It does so in a body that goes to a terminal too, with bytes that are no text as `\xNN`.
//! The line that reports the payment begins with a reset. A body that goes to a file or a pipe is unchanged.
//!
//! **Left to you.** Take care with that file: a pager or `cat` shows it unchanged. Look-alike letters are not
//! marked.
//!
//! **Shown by:**
//! - `x402-std/tests/pay.rs::nothing_a_seller_says_steers_a_terminal`
//! - `x402-std/src/bin/x402/shown.rs::what_steers_a_terminal_or_hides_words_is_escaped`
//! - `x402-std/src/bin/x402/shown.rs::a_body_in_pieces_is_shown_as_in_one`
//!
//! # Files that others have a hand in
//!
//! Every user of a machine can read a key. Or somebody else made a budget, claims or a secret before, with
//! rights for all. A user who can write these files makes a buyer or a seller forget.
//!
//! **Here.** A key file that others can read or write is refused. A key file that a facilitator's
//! configuration names may be readable, because containers mount secrets so. A file of a budget or of claims
//! is refused if others can write or replace it, or if it belongs to somebody else
//! ([`exposed`](crate::exposed)). The error names the remedy. Files that are made here are their owner's.
//!
//! **Left to you.** Access lists and network drives have rights of their own. The owner is checked on Linux
//! only. The machine's owner can do everything.
//!
//! **Shown by:**
//! - `x402-std/tests/pay.rs::files_that_others_have_a_hand_in_are_refused`
//! - `x402-std/src/exposed.rs::files_that_others_have_a_hand_in_are_known`
//!
//! # Payees that cannot be meant
//!
//! An offer pays the zero address, the token's own contract, the buyer, or an address with a mistyped letter.
//! The money is lost, or proves a payment that cost nothing.
//!
//! **Here.** Wallets do not pay such offers ([`Decline::NoPayee`](x402_core::buyer::Decline::NoPayee)). On
//! EVM networks these payees are the zero address, the token, the payer, and mixed case that is not EIP-55's
//! checksum. On Solana they are the system program, the token programs, the mint and the payer. Wallets
//! refuse to sign for them even where no policy is asked. The exception is the checksum, which is looked at
//! only in the choice of an offer.
//!
//! **Left to you.** Wallets do pay other addresses without a key, and token accounts given for their owners.
//!
//! **Shown by:**
//! - `x402-std/tests/client.rs::a_payee_that_cannot_be_meant_is_not_paid`
//!
//! # Budgets that forget
//!
//! A clock jumps ahead and is set right again, or a row of the budget's file is damaged. Either makes room
//! for payments that were already made, or hides purchases.
//!
//! **Here.** Sums that were added up while the clock was ahead still count for the corrected day. A table in
//! memory adds up before it forgets. A damaged row hides no other: the history goes on without it, and the
//! log names its id. Its purchase is not made again. If its amount is unreadable, no purchase under a limit
//! is possible until somebody has corrected it.
//!
//! **Left to you.** After such a jump a day's limit can be tighter for a day than it must be. A deleted file
//! forgets all.
//!
//! **Shown by:**
//! - `x402-std/tests/budget.rs::a_clock_that_was_ahead_makes_no_room`
//! - `x402-core/src/budget.rs::a_clock_that_was_ahead_makes_no_room`
//! - `x402-std/tests/budget.rs::a_row_that_cannot_be_read_hides_no_other_and_makes_no_room`
//!
//! # Payments over plain http
//!
//! Over plain http, anybody on the way reads the payment and presents it first, or changes the payee in the
//! challenge. A proxy that the environment names is on the way too.
//!
//! **Here.** A payment goes over https, or to this machine by its loopback address or as `localhost`. Any
//! other host gets it over plain http only if it is
//! [named](crate::buyer::client::HttpTransport::with_plain_http_hosts), by `--http-host` of `x402 pay` or
//! `--host http://HOST` of `x402 mcp`. It is refused before anything is signed. This machine is asked without
//! a proxy.
//!
//! **Left to you.** You decide which hosts to name. A configured proxy sees the payments to named hosts. Over
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
//! accepted, but no payment ever falls under it. The model spends without it.
//!
//! **Here.** One function reads a host for limits, for allow-lists and for `--host`
//! ([`host`](crate::buyer::budget::host)). Letter case, a final dot, and the ports 80 and 443 make no
//! difference, in limits and in requests. A wildcard, another spelling of an IP address, a percent sign and
//! letters beyond ASCII are refused. The error names the right form.
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
//! An agent pays any price: once too much, many times a little (SOLMAL, vector 6), again for an earlier
//! purchase, or along a redirect to somebody else. arXiv 2604.11430 puts policies in front of agents for the
//! same reason.
//!
//! **Here.** [`Policy`](crate::buyer::Policy) has a most for one payment, one dollar unless set. It has
//! [limits](crate::buyer::budget) for a day and for ever, of each host and payee, in money and in tokens. A
//! purchase within them is reserved before anything is signed, on the disk if the budget is there. The look
//! at earlier spending and the reservation are one step. So limits hold for any number of processes at once,
//! and whatever is killed. A signed payment counts whatever the seller answers, because the seller has it. A
//! purchase is signed at most once. One with an [id](crate::buyer::PurchaseOptions::id) is never signed
//! again, even after a crash: the same payment is presented. A challenge in answer to a payment is not paid.
//! A challenge for more than was [quoted](crate::buyer::PurchaseOptions::quoted) is not paid either.
//! Redirects are answers. The unit of money is a known stablecoin's; amounts in anything else are neither
//! weighed nor paid. Above a threshold somebody [is asked](crate::buyer::Policy::ask_above).
//!
//! **Left to you.** Limits for each host count each name, and the owner of a domain has as many names as they
//! like. Payees are free too. So have a limit of all, which `x402 mcp` has in any case. Give an agent a key
//! with no more on it than it may lose: an agent can be talked into spending all that its budget allows.
//! Anybody who can write the budget's file can make it forget. A seller's word can make a second purchase
//! look needed while the first payment is still good: see
//! [`BuyError::Refused`](crate::buyer::BuyError::Refused). A refused payment stays counted, though it may
//! have expired unused. So a seller that refuses uses up an agent's budget there: have a limit for each host.
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
//! Sellers' descriptions decide whom an agent pays. arXiv 2605.11781 (attack IV) moves the choice of a server
//! by its description. Within one challenge, the order of the offers does it, a false token called USDC, or
//! an address that differs in one digit.
//!
//! **Here.** No code here reads descriptions, names and icons. A token is known by network and address
//! ([`x402_evm::assets`], [`x402_svm::assets`]). A token that goes by another name than its own is not paid.
//! Networks, tokens and payees can be [listed](crate::buyer::Policy). The first offer within the policy is
//! taken. An offer that settles after the answer comes before one that settles first.
//!
//! **Left to you.** The first offer is not the cheapest: a dearer offer in front is paid if it is within
//! [`max`](crate::buyer::Policy::max). So set it to the worth of the goods. TLS and
//! [`payees`](crate::buyer::Policy::payees) show whether the seller is the right one. The agent decides which
//! server to ask.
//!
//! **Shown by:**
//! - `x402-std/tests/attacks.rs::look_alikes_are_declined`
//! - `x402-std/tests/attacks.rs::the_order_of_offers_does_not_lift_the_limit`
//! - `x402-std/tests/client.rs::declines_what_the_policy_does_not_allow`
//! - `x402-evm/tests/vectors.rs::negative_cases_give_the_official_reason`
//!
//! # Header bombs
//!
//! A sender makes a header of megabytes, JSON a thousand levels deep, thousands of keys or offers, or the
//! same header a hundred times. The receiver works for nothing, or its stack ends.
//!
//! **Here.** Every cap is in [`x402_core::limits`], for the messages of sellers, buyers and facilitators
//! alike. The core's readers neither recurse nor allocate. The search for repeated keys has a price limit.
//! Bodies of answers are read up to the same bound, and no more. A bomb is a 400, and nobody is asked about
//! it.
//!
//! **Left to you.** The HTTP server's own limits come first. Keep its header limit above your buyers'
//! headers, or they get its 431. Requests for a second are yours to count.
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
//! refusals in it are words of strangers. A script among them could ask the wallet for anything. A page
//! inside a frame could be clicked blindly. A payment that stays in the browser could be presented for
//! something else.
//!
//! **Here.** Every such text is data: JSON whose `<`, `>` and `&` are escapes, put into the document as text.
//! The policy admits one script, by its hash, and no frame around the page. The signed payment is in cookies
//! of its path, which the browser sends along from the same site only. Their name is a digest of method, URL
//! and body, so no other request presents them. Handlers do not see them. A payment in cookies passes the
//! same gate and the same claim as one in a header. It is good for one answer, which is kept for ten minutes.
//! A settled payment is public on its chain, so the answer is bound to a random token of the page too.
//!
//! **Left to you.** A script of your own on the same origin can read the storage, where the payment lies, and the
//! cookies of its path: it is your page. Serve over https. Several processes need connections that stick to one of them, because an
//! answer is kept by the process that made it. Without that the page shows the answer itself, and HTML
//! without its scripts.
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
//! A client of an MCP server over HTTP introduces itself, and the server keeps a session for it. A client
//! that only introduces itself, thousands of times a second, fills the memory without a payment.
//!
//! **Here.** `x402 mcp --upstream --listen` keeps no sessions. It sends nothing unasked, so each request
//! stands for itself. Clients of every protocol version are served so. A client that hangs up gives up its
//! call, and the place of the call.
//!
//! **Left to you.** In servers of your own that sell tools with [`PaidTools`](crate::mcp::PaidTools), you
//! choose how rmcp keeps sessions. Its default keeps as many as are asked for, for five minutes each. You
//! also limit the number of requests at once: here the number of connections limits it.
//!
//! **Shown by:**
//! - `x402-std/tests/mcp.rs::introductions_fill_no_memory`
//! - `x402-std/tests/mcp.rs::a_client_that_hangs_up_gives_its_call_up`
//! - `x402-std/tests/mcp.rs::sells_the_tools_of_a_url_over_http`
//!
//! # One network that takes the others with it
//!
//! A probe that asks for everything at once is 503 as soon as one network's nodes are down, or one account
//! has no gas. A balancer then takes all networks out of service. An attacker who drains one account stops
//! every seller.
//!
//! **Here.** `/readyz` of `x402 facilitator` is 200 while one network and the store are there. It lists for
//! each network whether it is ready and why not. `?network=` asks about one. All are asked at once, with a
//! deadline, every five seconds at most. The gauge `x402_ready` has the same.
//!
//! **Left to you.** Set alarms: a network that is not ready is a warning in the log and a 0 in the gauge.
//!
//! **Shown by:**
//! - `x402-std/tests/config.rs::readiness_is_each_networks_own`
//! - `x402-std/tests/config.rs::a_wrong_chain_is_refused_at_the_start`
//! - `x402-std/tests/config.rs::serves_what_operators_ask_for`
//!
//! # Secrets in logs, and what a payment tells
//!
//! A signed payment in a log is money for its first reader, and a key is all the money. A payment also
//! reveals more than it must. arXiv 2604.11430 finds personal data in the URLs and descriptions that go to
//! seller and facilitator with every payment.
//!
//! **Here.** `Debug`, errors and events of `tracing` never show a key or a payment's signature. Nor do the
//! command's errors about unknown arguments. The header of a payment is marked sensitive. Errors of HTTP
//! leave the URL out. A receipt has none of a facilitator's explanations. The command wipes the text of a key
//! file from memory.
//!
//! **Left to you.** A key in an environment variable stays in the environment. Some proxies and servers log
//! headers: `PAYMENT-SIGNATURE` and `X-PAYMENT` are secrets until they expire. An empty
//! [`Offers::resource`](crate::seller::Offers::resource) is filled with the whole URL, query included. Buyers
//! send it back, and the facilitator gets it. Set a URL without personal data. Nothing is filtered.
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
