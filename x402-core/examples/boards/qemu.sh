#!/bin/sh
# Runs firmware on an emulated board: qemu.sh ELF [ARGUMENTS...]
#
# X402_FORWARD=PORT   127.0.0.1:PORT of the host leads to port 80 of the board
# X402_SERIAL=PORT    the board's serial line is a connection to 127.0.0.1:PORT of the host
# X402_ICOUNT=1       one instruction takes one nanosecond: figures can be reproduced
#
# The board reaches 127.0.0.1 of the host as 10.0.2.2. It ends with the firmware's exit status.
set -eu

elf=$1
shift

# The firmware takes its command line apart at blanks, except between quotation marks; QEMU wants a
# comma in an option's value written twice.
options=enable=on,target=native,arg=firmware
for argument in "$@"; do
    case $argument in
    '' | *[\ \	]* | \'*) argument="\"$argument\"" ;;
    \"*) argument="'$argument'" ;;
    esac
    options=$options,arg=$(printf '%s\n' "$argument" | sed 's/,/,,/g')
done

forward=${X402_FORWARD:+,hostfwd=tcp:127.0.0.1:$X402_FORWARD-10.0.2.15:80}
serial=${X402_SERIAL:+tcp:127.0.0.1:$X402_SERIAL}

set -- -display none -monitor none -serial "${serial:-null}" -semihosting-config "$options" \
    ${X402_ICOUNT:+-icount shift=0} -kernel "$elf"

case $elf in
*thumbv7em*) exec qemu-system-arm -M mps2-an386 -nic "user,model=lan9118$forward" "$@" ;;
*thumbv6m*) exec qemu-system-arm -M mps2-an385 -nic "user,model=lan9118$forward" "$@" ;;
*riscv32*)
    exec qemu-system-riscv32 -M virt -cpu rv32 -bios none -global virtio-mmio.force-legacy=false \
        -netdev "user,id=n$forward" -device virtio-net-device,netdev=n "$@"
    ;;
*)
    echo "qemu.sh: no board for $elf" >&2
    exit 2
    ;;
esac
