"""Feature networks: one file each; the file name is the value of a detector's option `features`.

    random, pixels       nothing is learnt            pretext, contrastive    learnt from the healthy images
    efficientnet_lite0   weights from elsewhere, declared as pretrained

See hilum.anomaly.feature_net for the contract.
"""
