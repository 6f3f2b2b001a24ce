// SPDX-License-Identifier: MIT
pragma solidity 0.8.28;

/// A wallet whose owner's key signs, in a form that no key's signature has: 68 bytes, of which the first three are
/// ignored. For tests only.
contract SmartWallet {
    address public owner;

    constructor(address owner_) {
        owner = owner_;
    }

    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4) {
        if (signature.length != 68) {
            return 0xffffffff;
        }
        bytes32 r = bytes32(signature[3:35]);
        bytes32 s = bytes32(signature[35:67]);
        bool signed = ecrecover(digest, uint8(signature[67]), r, s) == owner;
        return signed ? bytes4(0x1626ba7e) : bytes4(0xffffffff);
    }
}

contract SmartWalletFactory {
    function make(address owner, bytes32 salt) external returns (address) {
        return address(new SmartWallet{salt: salt}(owner));
    }

    function nothing() external {}

    function addressOf(address owner, bytes32 salt) external view returns (address) {
        bytes32 code = keccak256(abi.encodePacked(type(SmartWallet).creationCode, abi.encode(owner)));
        return address(uint160(uint256(keccak256(abi.encodePacked(hex"ff", address(this), salt, code)))));
    }
}
