//! The closed sets of label values: enums with fixed strings, so that a typo cannot make a new series.

/// Defines an enum whose values are the strings of one label, in their order on the scrape's zeros.
macro_rules! label_values {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$vmeta])* $variant,)+
        }

        impl $name {
            /// Every value, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// The strings of [`Self::ALL`], as the catalogue lists them.
            pub(crate) const VALUES: &'static [&'static str] = &[$($text,)+];

            /// The label value on the scrape, to the byte.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

label_values! {
    /// Side of an order or a trade.
    Side {
        /// A purchase.
        Buy = "BUY",
        /// A sale.
        Sell = "SELL",
    }
}

label_values! {
    /// Type of an order.
    OrderType {
        /// At the market.
        Market = "MARKET",
        /// At a price or better.
        Limit = "LIMIT",
        /// At the market once a price is touched.
        Stop = "STOP",
        /// A limit order once a price is touched.
        StopLimit = "STOP_LIMIT",
        /// A stop that follows the price.
        TrailingStop = "TRAILING_STOP",
        /// Whatever else a broker offers.
        Other = "OTHER",
    }
}

label_values! {
    /// Final status of an order. An order is counted once, at this status, so that the success rate is
    /// `FILLED` over all.
    OrderStatus {
        /// Filled in full.
        Filled = "FILLED",
        /// Filled in part; the rest was cancelled.
        PartiallyFilled = "PARTIALLY_FILLED",
        /// Cancelled before any fill.
        Cancelled = "CANCELLED",
        /// Refused by the risk manager or the broker.
        Rejected = "REJECTED",
        /// Ran out of time.
        Expired = "EXPIRED",
    }
}

label_values! {
    /// Result of a risk check.
    RiskResult {
        /// The order may go out.
        Approve = "approve",
        /// The order may not go out.
        Reject = "reject",
        /// A person has to decide.
        RequireApproval = "require_approval",
        /// The order may go out smaller.
        ReduceSize = "reduce_size",
    }
}
