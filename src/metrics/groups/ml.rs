//! The ML model: accuracy, drift, feature importance, confidence.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::lock::lock;
use crate::metrics::bound::{Count, Distribution, Level};
use crate::metrics::caps::{MAX_FREE_VALUES, MAX_VALUE_BYTES, OTHER};
use crate::metrics::catalog::{self, Instrument};
use crate::metrics::registry::{Registry, attributes};
use crate::told::Told;

const ACCURACY: &Instrument = catalog::named("trading_ml_model_accuracy");
const PSI: &Instrument = catalog::named("trading_ml_psi_drift");
const IMPORTANCE: &Instrument = catalog::named("trading_ml_feature_importance");
const CONFIDENCE: &Instrument = catalog::named("trading_ml_prediction_confidence");

type Importances = Arc<Mutex<BTreeMap<String, f64>>>;

/// The figures of the signal pipeline's model.
#[derive(Debug)]
pub struct Ml {
    accuracy: Level,
    psi: Level,
    confidence: Distribution,
    importances: Importances,
    over_cap: Count,
    registry: Arc<Registry>,
    implausible_accuracy: Told,
    features_over_cap: Told,
}

impl Ml {
    pub(crate) fn new(registry: &Arc<Registry>) -> Self {
        let importances = Importances::default();
        let shown = Arc::clone(&importances);
        registry.observe(IMPORTANCE, move |observer| {
            for (feature, importance) in &*lock(&shown) {
                observer(&[feature], *importance);
            }
        });
        Self {
            accuracy: registry.level(ACCURACY, &[]),
            psi: registry.level(PSI, &[]),
            confidence: registry.distribution(CONFIDENCE, &[]),
            importances,
            over_cap: registry.over_cap("feature"),
            registry: Arc::clone(registry),
            implausible_accuracy: Told::default(),
            features_over_cap: Told::default(),
        }
    }

    /// Sets the model's accuracy, 0 to 1.
    #[inline]
    pub fn accuracy(&self, accuracy: f64) {
        if self.accuracy.record(accuracy) && !(0.0..=1.0).contains(&accuracy) {
            self.implausible_accuracy.once(|| {
                tracing::warn!(
                    target: "trading_telemetry",
                    accuracy,
                    hint = "accuracy is a fraction: 0.58 is 58 %; recorded as given",
                    "metric_value_implausible"
                );
            });
        }
    }

    /// Sets the Population Stability Index of the model's inputs.
    #[inline]
    pub fn psi(&self, psi: f64) {
        self.psi.record(psi);
    }

    /// Records the confidence of one prediction, 0 to 1.
    #[inline]
    pub fn prediction_confidence(&self, confidence: f64) {
        self.confidence.record(confidence);
    }

    /// Sets the importances of the current model's features, all at once: a feature that is not among them is no
    /// longer on the scrape.
    ///
    /// Called after a retrain, not on a hot path: takes a lock and allocates.
    pub fn feature_importances<'a>(&self, importances: impl IntoIterator<Item = (&'a str, f64)>) {
        let (mut current, mut recorded) = (BTreeMap::new(), Vec::new());
        for (feature, importance) in importances {
            let fits = current.len() < MAX_FREE_VALUES && feature.len() <= MAX_VALUE_BYTES;
            let folded = !fits && !current.contains_key(feature);
            let feature = if folded {
                self.over_cap.increment();
                self.features_over_cap.once(|| {
                    tracing::warn!(
                        target: "trading_telemetry",
                        cap = MAX_FREE_VALUES,
                        max_bytes = MAX_VALUE_BYTES,
                        hint = "the importances of further features are added up under other",
                        "metric_label_over_cap"
                    );
                });
                OTHER
            } else {
                feature
            };
            let series = self.registry.series(IMPORTANCE, &attributes(IMPORTANCE, &[feature]));
            if series.admits_addend(importance) {
                recorded.push(series);
                let shown = current.entry(feature.to_owned()).or_insert(0.0);
                *shown = if folded { *shown + importance } else { importance };
            }
        }
        *lock(&self.importances) = current;
        for series in recorded {
            series.touch();
        }
    }
}
