"""Serves pip, with or without ROS; a colcon workspace builds the package by CMakeLists.txt."""

from pathlib import Path

from setuptools import find_packages, setup

root = Path(__file__).parent
version = next(
    line.split('"')[1]
    for line in (root / "superglue_ros" / "__init__.py").read_text().splitlines()
    if line.startswith("__version__")
)
readme = root / "README.md"

# To export engines and to run them on a CPU; on a GPU onnxruntime-gpu takes the latter's place.
ONNX = ["onnx>=1.17", "onnxruntime>=1.19"]

# Furnished worlds to train on: .glb files, and a ray caster that has wheels for x86-64 alone.
TRAIN = [
    "trimesh>=4.6",
    "pillow>=9",
    'embreex>=2.17; platform_machine == "x86_64" or platform_machine == "AMD64"',
]

# Sequences as COLMAP databases and models, and as hloc's files.
COLMAP = ["pycolmap>=4.0", "h5py>=3.8"]

setup(
    name="superglue_ros",
    version=version,
    description="SuperPoint and SuperGlue as a ROS 2 front end: matches, odometry, training",
    long_description=readme.read_text() if readme.exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["superglue_ros", "superglue_ros.*"]),
    package_data={"superglue_ros": ["weights/*", "training/recipes/*.yaml"]},
    # Floors are what ROS 2 Humble has from apt, and JetPack 6 of torch (make test-oldest).
    install_requires=[
        "torch>=2.5.0a0",
        "numpy>=1.21.5",
        "opencv-python>=4.5.4",
        "scipy>=1.8",
        "matplotlib>=3.5.1",
        "safetensors>=0.4",
        "rosbags>=0.11",
        # Of rosbags as well; Python 3.14 has it.
        'backports.zstd>=1.0; python_version < "3.14"',
        "tqdm>=4.57",
        "PyYAML>=5.4",
    ],
    extras_require={
        "onnx": ONNX,
        "colmap": COLMAP,
        "train": TRAIN,
        "docs": ["mkdocs-material>=9.7"],
        "test": [
            "pytest>=8",
            "hypothesis>=6",
            "mypy>=1.8",
            "ruff>=0.4",
            'evo>=1.30; python_version >= "3.11"',
            *ONNX,
            *TRAIN,
            *COLMAP,
            # For its interpreter: a kernel's results without a GPU.
            'triton>=3.1; platform_system == "Linux"',
        ],
    },
    entry_points={"console_scripts": ["superglue_ros = superglue_ros.cli.main:main"]},
)
