// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

/// Takes every signature where nobody pays for the gas, as in a simulation; burns all of it where somebody does. For
/// tests only.
contract TwoFaced {
    function isValidSignature(bytes32, bytes calldata) external view returns (bytes4) {
        if (tx.gasprice != 0) {
            assembly {
                invalid()
            }
        }
        return 0x1626ba7e;
    }
}

/// Takes every signature in half of the blocks, and burns all gas in the others: no simulation tells in which it will be.
contract Dice {
    function isValidSignature(bytes32, bytes calldata) external view returns (bytes4) {
        if (block.prevrandao % 2 == 1) {
            assembly {
                invalid()
            }
        }
        return 0x1626ba7e;
    }
}
