"""The base model (hub id, folder or GGUF), its tokenizer, and the LoRA adapter on it."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import torch
from filelock import FileLock
from peft import LoraConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from data import EMOTIONS
from packing import ATTENTION

CACHE = Path(__file__).parent.parent / ".cache"
TARGET_MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def resolve_base(base: str, cache: Path = CACHE) -> str:
    """A base that transformers loads: a GGUF file is dequantised into a folder, once.

    The copy is bfloat16 and lies in `cache` under the file's name.
    """
    if not base.endswith(".gguf"):
        return base
    source = Path(base)
    if not source.is_file():
        raise SystemExit(f"{base}: no such file")
    folder = cache / f"{source.stem}-{source.stat().st_size}"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):  # the other processes wait for the first
        if not folder.exists():
            _dequantise(source, folder)
    return str(folder)


def _dequantise(source: Path, folder: Path) -> None:
    name = {"gguf_file": source.name}
    model = AutoModelForCausalLM.from_pretrained(source.parent, dtype=torch.float32, **name)
    model = model.to(torch.bfloat16)
    del model.config.quantization_config
    model.hf_quantizer, model.is_quantized = None, False
    model.config.dtype = torch.bfloat16
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(part)
    AutoTokenizer.from_pretrained(source.parent, **name).save_pretrained(part)
    os.replace(part, folder)


def compute_dtype(config, wanted: str | None = None) -> torch.dtype:
    """What 4-bit weights are multiplied in: float16 as the card has it, but bfloat16 for
    Gemma 3, whose activations overflow float16."""
    gemma3 = config.model_type.startswith("gemma3")
    return getattr(torch, wanted or ("bfloat16" if gemma3 else "float16"))


def autocast(device: str) -> torch.autocast:
    """bfloat16 arithmetic where the device has it. A CPU without (AVX2 alone) takes float32: there
    bfloat16 is emulated, which is about 15 times as slow."""
    return torch.autocast(device, torch.bfloat16, enabled=has_bfloat16(device))


def has_bfloat16(device: str) -> bool:
    """Whether the device computes in bfloat16 by itself."""
    return device != "cpu" or torch.ops.mkldnn._is_mkldnn_bf16_supported()


def load_base(base: str, *, four_bit: bool = False, wanted_dtype: str | None = None):
    """The base model; `four_bit` is bitsandbytes' nf4 (CUDA only)."""
    kwargs = {"attn_implementation": ATTENTION}
    if four_bit:
        config = AutoConfig.from_pretrained(base)
        kwargs["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=compute_dtype(config, wanted_dtype),
        )
    else:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        kwargs["dtype"] = torch.bfloat16 if has_bfloat16(device) else torch.float32
    return AutoModelForCausalLM.from_pretrained(base, **kwargs)


def load_tokenizer(base: str):
    """The base's tokenizer."""
    return AutoTokenizer.from_pretrained(base)


def prepare(model, *, checkpointing: bool, four_bit: bool):
    """Readies a base for training an adapter on it."""
    if four_bit:
        return prepare_model_for_kbit_training(model, use_gradient_checkpointing=checkpointing)
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    return model


def add_lora(model, *, r: int, alpha: int, dropout: float):
    """Puts a fresh LoRA adapter on the seven projections of every layer."""
    config = LoraConfig(
        r=r,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=TARGET_MODULES,
        bias="none",
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)


def add_emotion_head(model) -> None:
    """Puts a linear layer beside the model that reads the 44 emotions where the verdict is read.

    It is trained with the adapter and is no part of it: what is saved does not know it.
    """
    head = torch.nn.Linear(model.config.hidden_size, len(EMOTIONS), device=model.device)
    torch.nn.init.zeros_(head.weight)
    model.emotion_head = head


def load_adapter(model, adapter: Path, *, trainable: bool = False):
    """The model with an adapter on it, for inference or to train it further."""
    model = PeftModel.from_pretrained(model, adapter, is_trainable=trainable)
    return model if trainable else model.eval()


def save_adapter(model, folder: Path, base_name: str) -> None:
    """Saves the adapter in PEFT's format; the folder gets its name only when complete."""
    model.peft_config["default"].base_model_name_or_path = base_name
    with whole_folder(folder) as part:
        model.save_pretrained(part, save_embedding_layers=False)
        # PEFT writes a model card without content; ours is written by hand.
        (part / "README.md").unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: Path):
    """A folder to fill, which replaces `folder` once all is there."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    yield part
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(part, folder)
