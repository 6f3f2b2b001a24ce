//! Values that are remembered while the process lasts.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The newest values, by name.
pub(super) struct Recent<T> {
    most: usize,
    all: Mutex<VecDeque<(String, T)>>,
}

impl<T: Clone> Recent<T> {
    pub(super) fn new(most: usize) -> Self {
        Self { most, all: Mutex::default() }
    }

    fn all(&self) -> MutexGuard<'_, VecDeque<(String, T)>> {
        // No code panics while it holds the lock.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, name: String, value: T) {
        let mut all = self.all();
        all.retain(|(known, _)| *known != name);
        if all.len() >= self.most {
            all.pop_front();
        }
        all.push_back((name, value));
    }

    pub(super) fn get(&self, name: &str) -> Option<T> {
        self.all().iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    pub(super) fn take(&self, name: &str) -> Option<T> {
        let mut all = self.all();
        let at = all.iter().position(|(known, _)| known == name)?;
        all.remove(at).map(|(_, value)| value)
    }
}
