//! Several figures that belong together: written without a lock, read as one.

use std::sync::atomic::{AtomicU64, Ordering, fence};

/// More than the writers that could be inside at once.
const SLOTS: usize = 64;

/// The last of many snapshots of `N` figures. Each writer takes a slot of its own, so none waits; a reader takes the
/// newest that is whole.
#[derive(Debug)]
pub(crate) struct Latest<const N: usize> {
    next: AtomicU64,
    newest: AtomicU64,
    slots: [Slot<N>; SLOTS],
}

#[derive(Debug)]
struct Slot<const N: usize> {
    /// Twice the ticket of its snapshot, plus one while that is being written.
    sequence: AtomicU64,
    figures: [AtomicU64; N],
}

impl<const N: usize> Latest<N> {
    pub(crate) fn new() -> Self {
        Self {
            next: AtomicU64::new(1),
            newest: AtomicU64::new(0),
            slots: std::array::from_fn(|_| Slot {
                sequence: AtomicU64::new(0),
                figures: std::array::from_fn(|_| AtomicU64::new(0)),
            }),
        }
    }

    pub(crate) fn write(&self, figures: &[f64; N]) {
        let ticket = self.next.fetch_add(1, Ordering::Relaxed);
        let Some(slot) = self.slot(ticket) else { return };
        slot.sequence.store(2 * ticket + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        for (room, figure) in slot.figures.iter().zip(figures) {
            room.store(figure.to_bits(), Ordering::Relaxed);
        }
        slot.sequence.store(2 * ticket, Ordering::Release);
        self.newest.fetch_max(ticket, Ordering::Release);
    }

    /// The newest whole snapshot, or `None` before the first.
    pub(crate) fn read(&self) -> Option<[f64; N]> {
        // A slot is overwritten only after 63 further snapshots: trying again finds a newer one.
        for _ in 0..16 {
            let ticket = self.newest.load(Ordering::Acquire);
            if ticket == 0 {
                return None;
            }
            let slot = self.slot(ticket)?;
            let before = slot.sequence.load(Ordering::Acquire);
            let figures = std::array::from_fn(|index| {
                f64::from_bits(slot.figures.get(index).map_or(0, |figure| figure.load(Ordering::Relaxed)))
            });
            fence(Ordering::Acquire);
            if before == 2 * ticket && slot.sequence.load(Ordering::Relaxed) == before {
                return Some(figures);
            }
            std::hint::spin_loop();
        }
        None
    }

    fn slot(&self, ticket: u64) -> Option<&Slot<N>> {
        usize::try_from(ticket % SLOTS as u64).ok().and_then(|index| self.slots.get(index))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn the_last_snapshot_is_read_back() {
        let latest = Latest::new();
        assert_eq!(latest.read(), None);
        for round in 0..200 {
            latest.write(&[f64::from(round), 1.0]);
            assert_eq!(latest.read(), Some([f64::from(round), 1.0]));
        }
    }

    #[test]
    fn a_snapshot_is_never_a_mixture() {
        let latest = Arc::new(Latest::<6>::new());
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (1..=4)
            .map(|id| {
                let (latest, stop) = (Arc::clone(&latest), Arc::clone(&stop));
                std::thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        latest.write(&[f64::from(id); 6]);
                    }
                })
            })
            .collect();
        let mut seen = 0;
        while seen < 2_000 {
            if let Some(figures) = latest.read() {
                assert!(figures.iter().all(|figure| figure.to_bits() == figures[0].to_bits()), "{figures:?}");
                seen += 1;
            }
        }
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.join().unwrap();
        }
    }
}
