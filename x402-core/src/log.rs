//! Values worth a line in a log, for `defmt`: as [`Display`](core::fmt::Display) has them.

use defmt::{Display2Format, Format, Formatter, write};

use crate::wire::PaymentRequirements;
use crate::{Amount, Money, Network, Reason};

macro_rules! as_displayed {
    ($($name:ty),*) => {$(
        impl Format for $name {
            fn format(&self, f: Formatter<'_>) {
                write!(f, "{}", Display2Format(self));
            }
        }
    )*};
}

as_displayed!(Amount, Money, Network<'_>, Reason);

/// The offer, without `extra`.
impl Format for PaymentRequirements<'_> {
    fn format(&self, f: Formatter<'_>) {
        let [scheme, asset, pay_to] = [&self.scheme, &self.asset, &self.pay_to].map(Display2Format);
        let (network, amount) = (self.network, self.amount);
        write!(f, "{} {}: {} units of {} to {}", scheme, network, amount, asset, pay_to);
    }
}
