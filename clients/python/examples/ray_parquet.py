"""Sentiments of a folder of Parquet files with Ray Data, into another folder.

python ray_parquet.py --binary ko-sentiment --model model.gguf --text comment --video video comments/ sentiments/
"""

import argparse

import ray

from ko_sentiment.ray import Embedded, annotate

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--binary", required=True, help="the server, at this path on each machine")
parser.add_argument("--model", required=True, help="the model, at this path on each machine")
parser.add_argument("--text", required=True, help="column with the comments")
parser.add_argument("--video", help="column with the videos' ids")
parser.add_argument("--actors", type=int, default=2)
parser.add_argument("--cpus", type=int, default=1, help="CPUs per actor")
parser.add_argument("--gpus", type=float, default=0, help="GPUs per actor")
parser.add_argument("source")
parser.add_argument("target")
args = parser.parse_args()

server = Embedded(args.binary, args.model, ("--threads", str(args.cpus)))
sentiments = annotate(
    ray.data.read_parquet(args.source),
    server,
    text=args.text,
    video_id=args.video,
    actors=args.actors,
    num_cpus=args.cpus,
    num_gpus=args.gpus,
    blocks=4 * args.actors,
)
sentiments.write_parquet(args.target)
