"""The whole network: music and text encoders, their decoders, and the Captioner that holds them.

Letters: B batch, F frequency bins, T frames, S steps of the music encoder, N codes, D width,
C channels, L tokens, V vocabulary. Music and text both become N codes of width D; one text decoder
reads either. Source: Kuang et al., arXiv 2210.00434.
"""

import math
from typing import NamedTuple

from model import torchaudio_import  # noqa: F401 - before transformers  # isort: skip

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import BertConfig, BertLMHeadModel, BertModel, GenerationConfig
from transformers.cache_utils import DynamicCache, EncoderDecoderCache

from crawler.errors import UserError
from model.config import FeatureConfig, GenerateConfig, ModelConfig
from model.tokenizer import BOS, EOS, MASK, PAD


class MusicCode(NamedTuple):
    """What the music encoder makes of a batch of spectrograms."""

    steps: Tensor  # (B, S, D), zero where step_mask is False
    step_mask: Tensor  # (B, S) bool, True within the recording
    codes: Tensor  # (B, N, D), mean over N segments of the recording


def length_mask(lengths: Tensor, size: int) -> Tensor:
    """Lengths (B,) -> (B, size) bool, True before each length."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def segment_means(steps: Tensor, lengths: Tensor, num_segments: int) -> Tensor:
    """Mean over `num_segments` equal segments of the first `lengths` steps of each example.

    (B, S, D), (B,) -> (B, N, D). Segment n spans steps floor(n S / N) to ceil((n + 1) S / N), as in
    adaptive average pooling, so that a recording of fewer than N steps still fills all segments.
    """
    segment = torch.arange(num_segments, device=steps.device)
    starts = segment * lengths[:, None] // num_segments  # (B, N)
    ends = ((segment + 1) * lengths[:, None] + num_segments - 1) // num_segments
    step = torch.arange(steps.shape[1], device=steps.device)
    inside = (step >= starts[..., None]) & (step < ends[..., None])  # (B, N, S)
    return (inside / (ends - starts)[..., None]).to(steps.dtype) @ steps  # (B, N, D)


class MusicEncoder(nn.Module):
    """Spectrogram -> strided convolutions -> transformer -> N segment means."""

    def __init__(self, model: ModelConfig, features: FeatureConfig) -> None:
        super().__init__()
        self.num_codes = model.num_codes
        self.strides_time = model.strides_time
        strides = list(zip(model.strides_frequency, model.strides_time, strict=True))
        channels = (1, *model.channels)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(channels[i], channels[i + 1], kernel_size=3, stride=stride, padding=1)
            for i, stride in enumerate(strides)
        )
        bins = num_bins_after(features.num_bins, model.strides_frequency)
        self.project = nn.Linear(model.channels[-1] * bins, model.d_model)
        self.positions = nn.Embedding(model.max_steps, model.d_model)
        self.norm = nn.LayerNorm(model.d_model)
        self.dropout = nn.Dropout(model.dropout)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                model.d_model,
                model.num_heads,
                model.d_feedforward,
                model.dropout,
                activation="gelu",
                batch_first=True,
            )
            for _ in range(model.music_layers)
        )

    def forward(self, spectrogram: Tensor, num_frames: Tensor) -> MusicCode:
        """(B, F, T), (B,) frames of each example -> MusicCode; padding changes nothing."""
        x = spectrogram.unsqueeze(1)  # (B, 1, F, T)
        lengths = num_frames
        x = x * length_mask(lengths, x.shape[-1])[:, None, None]
        for convolution, stride in zip(self.convolutions, self.strides_time, strict=True):
            x = F.leaky_relu(convolution(x))  # (B, C, F, T)
            lengths = (lengths + stride - 1) // stride
            # Past the end must stay zero, as it is outside an example that stands alone.
            x = x * length_mask(lengths, x.shape[-1])[:, None, None]
        x = self.project(x.flatten(1, 2).transpose(1, 2))  # (B, S, D)
        if x.shape[1] > self.positions.num_embeddings:
            raise UserError(
                f"a recording of {x.shape[1]} steps is longer than model.max_steps "
                f"{self.positions.num_embeddings}: cut it or raise the setting"
            )
        x = x + self.positions.weight[: x.shape[1]]
        x = self.dropout(self.norm(x))
        step_mask = length_mask(lengths, x.shape[1])  # (B, S)
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=~step_mask)
        x = x * step_mask[..., None]
        return MusicCode(x, step_mask, segment_means(x, lengths, self.num_codes))


def num_bins_after(num_bins: int, strides: tuple[int, ...]) -> int:
    """Frequency bins that strided convolutions with padding leave of `num_bins`."""
    for stride in strides:
        num_bins = math.ceil(num_bins / stride)
    return num_bins


class MusicDecoder(nn.Module):
    """Steps of the music encoder -> spectrogram: the mirror of its convolutions."""

    def __init__(self, model: ModelConfig, features: FeatureConfig) -> None:
        super().__init__()
        self.num_bins = features.num_bins
        self.channels = model.channels[-1]
        self.strides_time = model.strides_time[::-1]
        bins = num_bins_after(features.num_bins, model.strides_frequency)
        self.project = nn.Linear(model.d_model, self.channels * bins)
        channels = (*model.channels[::-1], 1)
        strides = list(zip(model.strides_frequency[::-1], self.strides_time, strict=True))
        self.convolutions = nn.ModuleList(
            nn.ConvTranspose2d(
                channels[i],
                channels[i + 1],
                kernel_size=3,
                stride=stride,
                padding=1,
                output_padding=(stride[0] - 1, stride[1] - 1),
            )
            for i, stride in enumerate(strides)
        )

    def forward(self, steps: Tensor, step_mask: Tensor) -> Tensor:
        """(B, S, D), (B, S) -> (B, F, T'), T' = S x the product of the strides in time."""
        x = self.project(steps) * step_mask[..., None]  # (B, S, C * F)
        x = x.transpose(1, 2).unflatten(1, (self.channels, -1))  # (B, C, F, S)
        mask = step_mask
        last = len(self.convolutions) - 1
        for i, convolution in enumerate(self.convolutions):
            x = convolution(x)  # (B, C, F, T)
            mask = mask.repeat_interleave(self.strides_time[i], dim=1)
            x = (x if i == last else F.leaky_relu(x)) * mask[:, None, None]
        return x[:, 0, : self.num_bins]  # (B, F, T')


class TextEncoder(nn.Module):
    """Tokens -> BERT-shaped layers -> N learned queries that attend to them."""

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        self.bert = BertModel(bert_config(model), add_pooling_layer=False)
        self.queries = nn.Parameter(torch.randn(model.num_codes, model.d_model) * 0.02)
        self.attention = nn.MultiheadAttention(
            model.d_model, model.query_heads, model.dropout, batch_first=True
        )

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """(B, L), (B, L) bool -> (B, N, D)."""
        states = self.bert(input_ids=tokens, attention_mask=mask).last_hidden_state  # (B, L, D)
        queries = self.queries.expand(len(tokens), -1, -1)  # (B, N, D)
        codes, _ = self.attention(
            queries, states, states, key_padding_mask=~mask, need_weights=False
        )
        return codes


def bert_config(model: ModelConfig, *, decoder: bool = False) -> BertConfig:
    """BERT-base's shape at the sizes of `model`; a decoder is causal and attends to codes."""
    return BertConfig(
        vocab_size=model.vocab_size,
        hidden_size=model.d_model,
        num_hidden_layers=model.text_layers,
        num_attention_heads=model.num_heads,
        intermediate_size=model.d_feedforward,
        hidden_dropout_prob=model.dropout,
        attention_probs_dropout_prob=model.dropout,
        max_position_embeddings=model.max_tokens,
        type_vocab_size=1,
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=EOS,
        is_decoder=decoder,
        add_cross_attention=decoder,
    )


class Captioner(nn.Module):
    """Two streams, music and text, meet in N codes; one decoder speaks for both."""

    def __init__(self, model: ModelConfig, features: FeatureConfig) -> None:
        super().__init__()
        self.max_tokens = model.max_tokens
        self.music_encoder = MusicEncoder(model, features)
        self.music_decoder = MusicDecoder(model, features)
        self.text_encoder = TextEncoder(model)
        self.text_decoder = BertLMHeadModel(bert_config(model, decoder=True))
        self.align_head = nn.Sequential(
            nn.Linear(model.d_model, model.d_model),
            nn.GELU(),
            nn.Linear(model.d_model, model.d_model),
        )

    def encode_music(self, spectrogram: Tensor, num_frames: Tensor) -> MusicCode:
        """(B, F, T) padded, (B,) frames of each -> MusicCode; padding changes nothing."""
        return self.music_encoder(spectrogram, num_frames)

    def reconstruct_music(self, steps: Tensor, step_mask: Tensor) -> Tensor:
        """(B, S, D), (B, S) -> (B, F, T') with T' >= T: cut it to the frames of the input."""
        return self.music_decoder(steps, step_mask)

    def encode_text(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """(B, L), (B, L) bool -> codes (B, N, D)."""
        return self.text_encoder(tokens, mask)

    def decode_text(self, tokens: Tensor, mask: Tensor, codes: Tensor) -> Tensor:
        """(B, L), (B, L) bool, (B, N, D) -> logits (B, L, V): place l foretells token l + 1."""
        return self.text_decoder(
            input_ids=tokens, attention_mask=mask, encoder_hidden_states=codes, use_cache=False
        ).logits

    @staticmethod
    def music_embedding(codes: Tensor) -> Tensor:
        """Codes (B, N, D) -> (B, N * D) of length 1: a product of two is their cosine."""
        return F.normalize(codes.flatten(1), dim=-1)

    @torch.no_grad()
    def generate_tokens(self, codes: Tensor, config: GenerateConfig) -> list[list[int]]:
        """Codes (B, N, D) -> the ids of B texts, without specials; call it in eval mode.

        The seed of `config` rules nucleus sampling and leaves the global random state alone.
        """
        begin = torch.full((len(codes), 1), BOS, device=codes.device)
        with torch.random.fork_rng([codes.device] if codes.is_cuda else []):
            torch.manual_seed(config.seed)
            ids = self.text_decoder.generate(
                begin,
                attention_mask=torch.ones_like(begin),
                encoder_hidden_states=codes,
                # Given here because generate() would make a cache without cross-attention.
                past_key_values=EncoderDecoderCache(DynamicCache(), DynamicCache()),
                generation_config=generation_config(config, self.max_tokens),
            )
        return [[i for i in row if i not in (PAD, BOS, EOS, MASK)] for row in ids.tolist()]


def generation_config(config: GenerateConfig, max_tokens: int) -> GenerationConfig:
    """Our settings in the words of transformers' generate()."""
    sampling = config.method == "nucleus"
    return GenerationConfig(
        max_length=min(config.max_tokens, max_tokens),
        num_beams=config.num_beams if config.method == "beam" else 1,
        do_sample=sampling,
        top_p=config.top_p if sampling else None,
        top_k=0 if sampling else None,  # the library's default would cut the nucleus at 50
        temperature=config.temperature if sampling else None,
        suppress_tokens=[PAD, BOS, MASK],
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=EOS,
    )
