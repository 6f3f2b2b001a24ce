//! The network of the RISC-V board: virtio, which shares memory with the device. It is polled.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};

use smoltcp::phy::{Device, DeviceCapabilities, TxToken};
use smoltcp::time::Instant;
use virtio_drivers::device::net::VirtIONetRaw;
use virtio_drivers::transport::mmio::{MmioTransport, VirtIOHeader};
use virtio_drivers::transport::{DeviceType, Transport};
use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};

use super::Static;
use super::frame::{FRAME, Received, capabilities};

/// Where a device may be.
const SLOTS: [usize; 8] = [
    0x1000_1000,
    0x1000_2000,
    0x1000_3000,
    0x1000_4000,
    0x1000_5000,
    0x1000_6000,
    0x1000_7000,
    0x1000_8000,
];
const SLOT_SIZE: usize = 0x1000;

/// Virtio's header before it.
const HEADER: usize = 12;
/// Frames that may come while none is asked for. It is also the size of the rings.
const FRAMES: usize = 4;
/// Two rings of two pages each.
const PAGES: usize = 4;

type Buffer = [u8; HEADER + FRAME];
type Driver = VirtIONetRaw<Memory, MmioTransport<'static>, FRAMES>;

struct Buffers {
    rx: [Buffer; FRAMES],
    tx: [u8; FRAME],
}

static BUFFERS: Static<Buffers> =
    Static::new(Buffers { rx: [[0; HEADER + FRAME]; FRAMES], tx: [0; FRAME] });

/// The network.
pub struct Ethernet {
    driver: Driver,
    buffers: &'static mut Buffers,
    /// The buffers' names in the ring, while the device has them.
    tokens: [Option<u16>; FRAMES],
}

impl Ethernet {
    /// The network, the first time, if there is one.
    pub fn take() -> Option<Self> {
        let buffers = BUFFERS.take()?;
        let driver = Driver::new(SLOTS.into_iter().find_map(network)?).ok()?;
        Some(Ethernet { driver, buffers, tokens: [None; FRAMES] })
    }

    /// Its hardware address.
    pub fn address(&self) -> [u8; 6] {
        self.driver.mac_address()
    }

    /// Gives the device all buffers that it does not have.
    fn give(&mut self) {
        for (buffer, token) in self.buffers.rx.iter_mut().zip(&mut self.tokens) {
            if token.is_none() {
                // SAFETY: the buffer is static and nobody touches it until `receive` takes the
                // token back.
                *token = unsafe { self.driver.receive_begin(buffer) }.ok();
            }
        }
    }
}

/// The device in a slot, if it is a network.
fn network(slot: usize) -> Option<MmioTransport<'static>> {
    let header = NonNull::new(slot as *mut VirtIOHeader)?;
    // SAFETY: the board has a virtio slot at this address, for ever, and no other driver uses it.
    let transport = unsafe { MmioTransport::new(header, SLOT_SIZE) }.ok()?;
    (transport.device_type() == DeviceType::Network).then_some(transport)
}

impl Device for Ethernet {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Transmit<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, Transmit<'_>)> {
        // Also the one that was read last: its token is gone.
        self.give();
        let token = self.driver.poll_receive()?;
        let index = self.tokens.iter().position(|&given| given == Some(token))?;
        let buffer = &mut self.buffers.rx[index];
        // SAFETY: it is the buffer that the token was given for.
        let result = unsafe { self.driver.receive_complete(token, buffer) };
        self.tokens[index] = None;
        let (header, length) = result.ok()?;
        let frame = buffer.get(header..header + length)?;
        Some((Received(frame), Transmit { driver: &mut self.driver, frame: &mut self.buffers.tx }))
    }

    fn transmit(&mut self, _: Instant) -> Option<Transmit<'_>> {
        Some(Transmit { driver: &mut self.driver, frame: &mut self.buffers.tx })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        capabilities()
    }
}

/// Leave to send a frame.
pub struct Transmit<'a> {
    driver: &'a mut Driver,
    frame: &'a mut [u8; FRAME],
}

impl TxToken for Transmit<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let frame = &mut self.frame[..length];
        let value = f(frame);
        // It waits until the device has the frame. One that it does not take is lost, as on any
        // wire: TCP repeats it.
        let _ = self.driver.send(frame);
        value
    }
}

/// The memory that the driver shares with the device: all of it, at the addresses it has.
struct Memory;

#[repr(C, align(4096))]
struct Pages(UnsafeCell<MaybeUninit<[[u8; PAGE_SIZE]; PAGES]>>);

// SAFETY: only `dma_alloc` takes pointers to it, to each page once.
unsafe impl Sync for Pages {}

/// Not with the other static variables: see `memory/riscv.x`.
#[unsafe(link_section = ".pages")]
static RINGS: Pages = Pages(UnsafeCell::new(MaybeUninit::uninit()));
static PAGES_GIVEN: AtomicUsize = AtomicUsize::new(0);

// SAFETY: `dma_alloc` never gives a page twice, and an address is the same for the device.
unsafe impl Hal for Memory {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let first = PAGES_GIVEN.load(Ordering::Relaxed);
        if pages > PAGES - first {
            // An address of 0 says that there is no memory.
            return (0, NonNull::dangling());
        }
        PAGES_GIVEN.store(first + pages, Ordering::Relaxed);
        // SAFETY: it was checked that the pages are there, and nobody else has them.
        let start = unsafe {
            let start = RINGS.0.get().cast::<u8>().add(first * PAGE_SIZE);
            start.write_bytes(0, pages * PAGE_SIZE);
            NonNull::new_unchecked(start)
        };
        (start.addr().get() as PhysAddr, start)
    }

    unsafe fn dma_dealloc(_: PhysAddr, _: NonNull<u8>, _: usize) -> i32 {
        // The only driver is there to stay.
        0
    }

    unsafe fn mmio_phys_to_virt(address: PhysAddr, _: usize) -> NonNull<u8> {
        unimplemented!("there is no PCI: {address:#x}")
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        buffer.addr().get() as PhysAddr
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}
