//! Shared code of both network devices.

use smoltcp::phy::{DeviceCapabilities, Medium, RxToken};

/// A frame without its check sequence, which the device makes and checks.
pub(super) const FRAME: usize = 1514;

/// A frame at a time.
pub(super) fn capabilities() -> DeviceCapabilities {
    let mut capabilities = DeviceCapabilities::default();
    capabilities.medium = Medium::Ethernet;
    capabilities.max_transmission_unit = FRAME;
    capabilities.max_burst_size = Some(1);
    capabilities
}

/// A frame that has come.
pub struct Received<'a>(pub(super) &'a [u8]);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}
