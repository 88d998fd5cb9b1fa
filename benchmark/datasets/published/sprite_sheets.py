"""The Liberated Pixel Cup sheets from which the Sprites videos are composed, and their checksums."""

import hashlib

from benchmark.datasets.archives.download import RemoteFile

REPOSITORY = "https://github.com/YingzhenLi/Sprites"
COMMIT = "3ce4048c5227802bd8f1888e293fd3afdba91c0c"
RAW = f"https://raw.githubusercontent.com/YingzhenLi/Sprites/{COMMIT}"
LAYERS = ("body", "bottomwear", "topwear", "hair", "shoes")  # from bottom to top
# The SHA-256 of the sheets that we use, by layer and number: 0 to 5 of each layer, but only sheet 1 of the shoes.
CHECKSUMS = {
    "body": {
        0: "27d1ac78db37c42f35a20d15c42705efc5e58d47c236cc01423879d4f797f151",
        1: "1535e9228357b884df80f777a0d1dac10ac35e550e4d8d077105ccad014a1460",
        2: "7c241033b4897501cb3721b6c3a9ebfa94b13db10a539edbd9bcc3e0c2a4bcb9",
        3: "055f5aa33fc112d8444b42fce2cf50608a9fbbf2466c54ceaa46c777589a717a",
        4: "57f3b9c510482379aba9a32fc0de7d48e9cbe3dc40f2447283547f773b77ca72",
        5: "91e49453aeab5ebbb4fd2b48253812895dcfb4cb1829b84e24425c66de8f04ff",
    },
    "bottomwear": {
        0: "4ec356c488e272fde2d2d0d722b12a80217871e41161d43ba784caf243969ec2",
        1: "0674312eaa4ab548f8bb31ef95d7dbd46b41555758cec51bd6c3e9fac9a0f936",
        2: "3b464feb0d20ff34b0ca2a6d1fd00766ad86e2229c3d56ff91379fe27588a893",
        3: "b366e84ea0519d06cf693f51e0ee2f9ac32b3132d27c75dfdc4b6f52fca072de",
        4: "4ed7e7702e4f50b9692c0043be04b7296a108d85ea97230fb50d13c150d98771",
        5: "a5c5e7e33f13fe5ad37b5836a5a74fb0d2094a0877c2146961b88688ff85840d",
    },
    "topwear": {
        0: "b917edcf2b3c35d51ef57a6fad67557c5edf048785bea29db09a640d09ac9a90",
        1: "e33c6cb31ed1268a2c0dc73b665b1c9b9420e22baf3321880222bdb22682368b",
        2: "2b9b8fefa08894b7ea536cd62b86d494aefe6e54495c5c1d83460827b13b6448",
        3: "807f5b628592f6747e2814be9435963069dba6c360577168c02f57bbe903433d",
        4: "b51b17878503877e179ce4f9231713bf2b2d2d666c3ec9ee29f4e784469867a2",
        5: "1b6049d43f83ebfda857cc405d1936ac9fd80be480fa6ad239024a6a75ad0372",
    },
    "hair": {
        0: "e4007b0635a239ad16cdebfe90759349ccc73dfc6836c9d19625714be185f43d",
        1: "fa6369f84d3310705df6d8ca8c9d515a7d211e73d2826c50a9cb5bb285652c66",
        2: "1b8046752be7233e829ebe9b11048e171d8d181ee6f68e07042b34f57bb8af0d",
        3: "333783285c5fd94ff434ae5000d2da39aac7940269f173119eaa70d34c8acfa1",
        4: "24df8e9b291cbd444f6c4d12d35b3d43d909cd13f04e6401e0fd8ab10216d5a2",
        5: "4dd471cc20e0b1cf71adcaab01c88598767e5cfe680adacdf560ca91574f17ae",
    },
    "shoes": {
        1: "d56a561616a20a12030d2d40a52eeec63e6d048871bf3b6994221869362151f1",
    },
}
SHEETS = {
    layer: [
        RemoteFile(f"sprites/{layer}/{number}.png", f"{RAW}/{layer}/{number}.png", checksum)
        for number, checksum in CHECKSUMS[layer].items()
    ]
    for layer in LAYERS
}
SHEETS_DIGEST = hashlib.sha256(repr(CHECKSUMS).encode()).hexdigest()[:32]
