//! A driver for the SMSC LAN9118, an Ethernet chip with a queue each way and no direct memory
//! access. It is polled.

use smoltcp::phy::{Device, DeviceCapabilities, TxToken};
use smoltcp::time::Instant;

use super::Static;
use super::arm::{read, write};
use super::frame::{FRAME, Received, capabilities};

const BASE: usize = 0x4020_0000;
const RX_DATA: usize = BASE;
const TX_DATA: usize = BASE + 0x20;
const RX_STATUS: usize = BASE + 0x40;
const TX_STATUS: usize = BASE + 0x48;
const BYTE_TEST: usize = BASE + 0x64;
const RX_CFG: usize = BASE + 0x6c;
const TX_CFG: usize = BASE + 0x70;
const TX_CFG_ON: u32 = 1 << 1;
const HW_CFG: usize = BASE + 0x74;
const HW_CFG_RESET: u32 = 1;
/// Five of the chip's sixteen kilobytes for the transmitter, and a bit that must be one.
const HW_CFG_SPLIT: u32 = 5 << 16 | 1 << 20;
const RX_FIFO_INF: usize = BASE + 0x7c;
const TX_FIFO_INF: usize = BASE + 0x80;
const MAC_COMMAND: usize = BASE + 0xa4;
const MAC_DATA: usize = BASE + 0xa8;
const MAC_BUSY: u32 = 1 << 31;
const MAC_READ: u32 = 1 << 30;

/// The registers of the part that drives the wire.
const MAC_CR: u32 = 1;
const MAC_CR_RX_TX_ON: u32 = 1 << 2 | 1 << 3;
const MAC_ADDRESS_HIGH: u32 = 2;
const MAC_ADDRESS_LOW: u32 = 3;

/// The most words a frame takes in the receiver's queue, with its check sequence.
const WORDS: usize = (FRAME + 4).div_ceil(4);
/// How often a register is read before the chip is given up.
const PATIENCE: usize = 100_000;

/// A frame each way, as smoltcp answers a frame while it reads it.
struct Buffers {
    rx: [u8; WORDS * 4],
    tx: [u8; WORDS * 4],
}

static BUFFERS: Static<Buffers> = Static::new(Buffers { rx: [0; WORDS * 4], tx: [0; WORDS * 4] });

/// The network.
pub struct Ethernet {
    buffers: &'static mut Buffers,
}

impl Ethernet {
    /// The network, the first time, if the chip is there.
    pub fn take() -> Option<Self> {
        let buffers = BUFFERS.take()?;
        write(HW_CFG, HW_CFG_RESET);
        wait(|| read(HW_CFG) & HW_CFG_RESET == 0)?;
        if read(BYTE_TEST) != 0x8765_4321 {
            return None;
        }
        write(HW_CFG, HW_CFG_SPLIT);
        write(RX_CFG, 0);
        write(TX_CFG, TX_CFG_ON);
        write_mac(MAC_CR, MAC_CR_RX_TX_ON)?;
        Some(Ethernet { buffers })
    }

    /// Its hardware address, which the chip has from its EEPROM.
    pub fn address(&self) -> [u8; 6] {
        let low = read_mac(MAC_ADDRESS_LOW).unwrap_or(0).to_le_bytes();
        let high = read_mac(MAC_ADDRESS_HIGH).unwrap_or(0).to_le_bytes();
        [low[0], low[1], low[2], low[3], high[0], high[1]]
    }
}

impl Device for Ethernet {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Transmit<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, Transmit<'_>)> {
        // Frames that are damaged or too long are skipped.
        while read(RX_FIFO_INF) >> 16 & 0xff != 0 {
            let status = read(RX_STATUS);
            let length = (status >> 16 & 0x3fff) as usize;
            let bad = status & 1 << 15 != 0;
            let words = length.div_ceil(4);
            for at in 0..words {
                let word = read(RX_DATA).to_le_bytes();
                if let Some(place) = self.buffers.rx.get_mut(at * 4..at * 4 + 4) {
                    place.copy_from_slice(&word);
                }
            }
            if bad || words > WORDS || length < 4 {
                continue;
            }
            let (rx, tx) = (&self.buffers.rx[..length - 4], &mut self.buffers.tx);
            return Some((Received(rx), Transmit(tx)));
        }
        None
    }

    fn transmit(&mut self, _: Instant) -> Option<Transmit<'_>> {
        // Room for a frame and its two command words.
        (read(TX_FIFO_INF) & 0xffff >= FRAME as u32 + 8).then_some(Transmit(&mut self.buffers.tx))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        capabilities()
    }
}

/// Leave to send a frame.
pub struct Transmit<'a>(&'a mut [u8; WORDS * 4]);

impl TxToken for Transmit<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let value = f(&mut self.0[..length]);
        // Drains the status of earlier frames: TCP repeats lost ones.
        while read(TX_FIFO_INF) >> 16 & 0xff != 0 {
            read(TX_STATUS);
        }
        // A frame that has no room after all is lost, as on any wire.
        if wait(|| read(TX_FIFO_INF) & 0xffff >= length as u32 + 8).is_some() {
            // The first and the last piece at once, aligned.
            write(TX_DATA, 1 << 13 | 1 << 12 | length as u32);
            write(TX_DATA, length as u32);
            for word in self.0[..length.next_multiple_of(4)].as_chunks().0 {
                write(TX_DATA, u32::from_le_bytes(*word));
            }
        }
        value
    }
}

/// Waits for the chip, but not for ever.
fn wait(ready: impl Fn() -> bool) -> Option<()> {
    (0..PATIENCE).any(|_| ready()).then_some(())
}

fn read_mac(register: u32) -> Option<u32> {
    write(MAC_COMMAND, MAC_BUSY | MAC_READ | register);
    wait(|| read(MAC_COMMAND) & MAC_BUSY == 0)?;
    Some(read(MAC_DATA))
}

fn write_mac(register: u32, value: u32) -> Option<()> {
    write(MAC_DATA, value);
    write(MAC_COMMAND, MAC_BUSY | register);
    wait(|| read(MAC_COMMAND) & MAC_BUSY == 0)
}
