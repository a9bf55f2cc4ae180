"""The one place where a field of a model, an inference method, data, training or evaluation is defined.

Imports no torch: job specs (`closegap.specs.spec`) are composed of these classes, and core is built from them.
"""

from __future__ import annotations

from closegap_core.config.base import Config as Config
from closegap_core.config.base import Seed as Seed
from closegap_core.config.base import canonical as canonical
from closegap_core.config.comparison import ComparisonConfig as ComparisonConfig
from closegap_core.config.comparison import EntryConfig as EntryConfig
from closegap_core.config.comparison import FigureConfig as FigureConfig
from closegap_core.config.comparison import Quantity as Quantity
from closegap_core.config.data import DataConfig as DataConfig
from closegap_core.config.data import SplitConfig as SplitConfig
from closegap_core.config.encoder import EncoderConfig as EncoderConfig
from closegap_core.config.encoder import Encoding as Encoding
from closegap_core.config.encoder import IterativeStart as IterativeStart
from closegap_core.config.encoder import LadderStart as LadderStart
from closegap_core.config.encoder import StandardStart as StandardStart
from closegap_core.config.evaluation import AisConfig as AisConfig
from closegap_core.config.evaluation import EvaluationConfig as EvaluationConfig
from closegap_core.config.evaluation import FlowConfig as FlowConfig
from closegap_core.config.evaluation import FrontierConfig as FrontierConfig
from closegap_core.config.evaluation import FrontierRefinerConfig as FrontierRefinerConfig
from closegap_core.config.evaluation import GapConfig as GapConfig
from closegap_core.config.evaluation import OptimumConfig as OptimumConfig
from closegap_core.config.evaluation import RefinementConfig as RefinementConfig
from closegap_core.config.evaluation import SurfaceConfig as SurfaceConfig
from closegap_core.config.inference import AuxiliaryFlowConfig as AuxiliaryFlowConfig
from closegap_core.config.inference import HybridConfig as HybridConfig
from closegap_core.config.inference import InferenceConfig as InferenceConfig
from closegap_core.config.inference import IterativeConfig as IterativeConfig
from closegap_core.config.inference import LadderConfig as LadderConfig
from closegap_core.config.inference import SemiAmortizedConfig as SemiAmortizedConfig
from closegap_core.config.inference import StandardConfig as StandardConfig
from closegap_core.config.inference import SviConfig as SviConfig
from closegap_core.config.model import AnyNetworkConfig as AnyNetworkConfig
from closegap_core.config.model import BernoulliConfig as BernoulliConfig
from closegap_core.config.model import Connection as Connection
from closegap_core.config.model import ConvolutionConfig as ConvolutionConfig
from closegap_core.config.model import DequantisedConfig as DequantisedConfig
from closegap_core.config.model import GaussianConfig as GaussianConfig
from closegap_core.config.model import IteratedMlpConfig as IteratedMlpConfig
from closegap_core.config.model import IteratedNetworkConfig as IteratedNetworkConfig
from closegap_core.config.model import LevelConfig as LevelConfig
from closegap_core.config.model import LikelihoodConfig as LikelihoodConfig
from closegap_core.config.model import ModelConfig as ModelConfig
from closegap_core.config.model import MultinomialConfig as MultinomialConfig
from closegap_core.config.model import NetworkConfig as NetworkConfig
from closegap_core.config.model import RecurrentConfig as RecurrentConfig
from closegap_core.config.model import Variance as Variance
from closegap_core.config.refiner import Refiner as Refiner
from closegap_core.config.refiner import RefinerConfig as RefinerConfig
from closegap_core.config.refiner import Samples as Samples
from closegap_core.config.serving import EncodeConfig as EncodeConfig
from closegap_core.config.serving import ExportConfig as ExportConfig
from closegap_core.config.serving import RefineConfig as RefineConfig
from closegap_core.config.training import TrainConfig as TrainConfig
from closegap_core.config.training import TrainingConfig as TrainingConfig
